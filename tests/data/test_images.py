"""Reading pictures in every state and mode, and finding them by number."""

import contextlib
import os
import struct
import sys
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from lightning_cr.errors import DataError
from lightning_cr.images import MAX_ASPECT, MIN_SIDE, ImageFolders, UnreadableImage, read_image


def noise(width=64, height=48):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def refused(path: Path) -> str:
    with pytest.raises(UnreadableImage) as caught:
        read_image(path)
    message = str(caught.value)
    assert isinstance(caught.value, DataError)
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith("fetch it again or take it out of the annotations")
    return message


def png_header(path: Path, width: int, height: int) -> None:
    """A PNG that claims a size and has next to no data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))


def test_missing_empty_and_foreign_files_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "none.jpg")
    (tmp_path / "empty.jpg").touch()
    assert "empty (0 bytes)" in refused(tmp_path / "empty.jpg")
    (tmp_path / "page.jpg").write_text("<html>404 not found</html>")
    assert "not an image" in refused(tmp_path / "page.jpg")
    (tmp_path / "folder.jpg").mkdir()
    refused(tmp_path / "folder.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tif"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
def test_truncated_files_are_refused(tmp_path, suffix, kept):
    path = tmp_path / f"cut.{suffix}"
    noise().save(path)
    data = path.read_bytes()
    assert read_image(path).size == (64, 48)
    path.write_bytes(data[: int(len(data) * kept)])
    refused(path)


def test_scrambled_files_give_a_picture_or_a_refusal_and_never_another_error(tmp_path):
    rng = np.random.default_rng(1)
    for suffix in ("jpg", "png", "webp", "gif", "tif"):
        path = tmp_path / f"x.{suffix}"
        noise().save(path)
        sound = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        for _ in range(40):
            broken = sound.copy()
            broken[rng.integers(0, min(len(broken), 400), 6)] = rng.integers(0, 256, 6)
            path.write_bytes(broken.tobytes())
            with contextlib.suppress(UnreadableImage):
                assert read_image(path).mode == "RGB"


@pytest.mark.parametrize("size", [(1, 1), (MIN_SIDE - 1, 100), (100, MIN_SIDE - 1)])
def test_tiny_pictures_are_refused(tmp_path, size):
    noise(*size).save(tmp_path / "x.png")
    assert f"{size[0]}x{size[1]}" in refused(tmp_path / "x.png")


def test_the_smallest_and_the_longest_picture_allowed_are_read(tmp_path):
    noise(MIN_SIDE, MIN_SIDE * MAX_ASPECT).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").size == (MIN_SIDE, MIN_SIDE * MAX_ASPECT)


@pytest.mark.parametrize("size", [(20000, 20), (20, 20000)])
def test_extreme_aspects_are_refused(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "x.jpg")
    assert f"{size[0]}x{size[1]}, one side may be 50 times the other" in refused(tmp_path / "x.jpg")


@pytest.mark.parametrize("side", [12_000, 30_000])  # where Pillow warns, and where it raises by itself
def test_decompression_bombs_are_refused_by_their_header(tmp_path, side):
    png_header(tmp_path / "bomb.png", side, side)
    assert "pixels" in refused(tmp_path / "bomb.png")


def test_a_large_photograph_that_pillow_warns_of_is_read(tmp_path):
    Image.new("L", (10_000, 9_000), 7).save(tmp_path / "large.png")  # 90 million pixels, Pillow warns from 89.5
    assert read_image(tmp_path / "large.png").size == (10_000, 9_000)


def test_plain_rgb_comes_back_as_it_was_saved(tmp_path):
    noise().save(tmp_path / "x.png")
    image = read_image(str(tmp_path / "x.png"))
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(noise()))


def test_alpha_is_laid_over_white(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(tmp_path / "half.webp", lossless=True)
    assert read_image(tmp_path / "half.webp").getpixel((0, 0)) == (255, 127, 127)
    Image.new("LA", (8, 8), (0, 0)).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])  # one clear colour, or an alpha for each
def test_transparent_palettes_are_laid_over_white(tmp_path, transparency):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "x.png", transparency=transparency)
    read = read_image(tmp_path / "x.png")
    assert read.getpixel((0, 0)) == (255, 255, 255)
    assert read.getpixel((1, 0)) == (200, 100, 50)


def test_transparent_colour_of_rgb_and_grey_is_laid_over_white(tmp_path):
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "x.png", transparency=(1, 2, 3))
    assert read_image(tmp_path / "x.png").getpixel((0, 0)) == (255, 255, 255)
    Image.new("L", (8, 8), 9).save(tmp_path / "y.png", transparency=9)
    assert read_image(tmp_path / "y.png").getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "x.jpg", quality=95)
    red, green, blue = read_image(tmp_path / "x.jpg").getpixel((8, 8))
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_few_colours_become_rgb(tmp_path, mode):
    noise().convert(mode).save(tmp_path / "x.png")
    assert np.array_equal(np.asarray(read_image(tmp_path / "x.png")), np.asarray(noise().convert(mode).convert("RGB")))


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path):
    values = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (8, 1))
    for name in ("x.png", "x.tif"):
        Image.fromarray(values).save(tmp_path / name)
        grey = np.asarray(read_image(tmp_path / name))[0, :, 0]
        assert grey[0] == 0
        assert grey[-1] == 255
        assert abs(int(grey[32]) - 130) <= 1


@pytest.mark.parametrize(("dtype", "top"), [(np.float32, 1.0), (np.float32, 255.0), (np.int32, 255), (np.int32, 65535)])
def test_deep_grey_tiff_is_scaled(tmp_path, dtype, top):
    values = np.tile(np.linspace(0, top, 64).astype(dtype), (8, 1))
    if dtype == np.float32:
        values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "x.tif")
    grey = np.asarray(read_image(tmp_path / "x.tif"))[0, :, 0]
    assert grey[0] == 0
    assert grey[-1] == 255
    assert abs(int(grey[32]) - 130) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_exif_orientation_is_applied_once(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    noise(32, 16).save(path, exif=exif)
    with Image.open(path) as stored:
        expected = ImageOps.exif_transpose(stored).convert("RGB")
    assert expected.size == ((32, 16) if orientation < 5 else (16, 32))
    assert np.array_equal(np.asarray(read_image(path)), np.asarray(expected))


def test_broken_exif_does_not_cost_the_picture(tmp_path):
    for number, exif in enumerate(
        (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\0\x05")
    ):
        path = tmp_path / f"{number}.jpg"
        noise().save(path, exif=exif)
        assert read_image(path).size == (64, 48)


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "x.gif").getpixel((0, 0)) == (255, 0, 0)


def test_the_first_of_the_pictures_in_a_phones_jpeg_is_read(tmp_path):
    noise().save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert read_image(tmp_path / "x.jpg").size == (64, 48)


def test_the_contents_and_not_the_name_decide_about_the_format(tmp_path):
    noise().save(tmp_path / "x.jpg", format="PNG")
    assert read_image(tmp_path / "x.jpg").size == (64, 48)


def test_threads_leave_the_warning_filters_as_they_were(tmp_path):
    before, interval = list(warnings.filters), sys.getswitchinterval()
    noise().save(tmp_path / "x.jpg")
    sys.setswitchinterval(1e-6)  # else a thread is done before the next one runs
    try:
        with ThreadPoolExecutor(4) as pool:
            assert len(list(pool.map(read_image, [tmp_path / "x.jpg"] * 400))) == 400
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == before


def test_pictures_are_found_by_number_in_all_forms_of_a_name(tmp_path):
    names = {
        "train2014": ["COCO_train2014_000000000001.jpg", "7.JPEG"],
        "images/val2017": ["000000000002.png", "12.webp"],
    }
    for folder, files in names.items():
        (tmp_path / folder).mkdir(parents=True)
        for name in [*files, "._000000000003.jpg", "notes.txt", "a3.jpg", "5.jpg.part"]:
            (tmp_path / folder / name).touch()
    folders = ImageFolders(tmp_path, ("train2017", "val2017", "train2014"))
    assert folders.paths == [tmp_path / "images" / "val2017", tmp_path / "train2014"]
    assert folders.find(1) == (1, "COCO_train2014_000000000001.jpg")
    assert folders.find(7) == (1, "7.JPEG")
    assert folders.find(2) == (0, "000000000002.png")
    assert folders.find(12) == (0, "12.webp")
    assert folders.find(3) is None
    assert folders.find(5) is None


def test_the_preferred_folder_and_the_given_name_come_first(tmp_path):
    for folder in ("train2017", "val2017", "train2014"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").touch()
    (tmp_path / "train2017" / "dog.jpg").touch()
    folders = ImageFolders(tmp_path, ("train2017", "val2017", "train2014"))
    assert folders.find(1) == (0, "1.jpg")
    assert folders.find(1, prefer="val2017") == (1, "1.jpg")
    assert folders.find(1, prefer="val2014") == (1, "1.jpg")
    assert folders.find(1, prefer="train2014") == (2, "1.jpg")
    assert folders.find(1, file_name="dog.jpg", prefer="train2017") == (0, "dog.jpg")
    assert folders.find(1, file_name="absent.jpg", prefer="train2017") == (0, "1.jpg")


def test_two_files_of_one_number_are_chosen_by_name(tmp_path):
    (tmp_path / "train2017").mkdir()
    for name in ("1.png", "000000000001.jpg", "1.jpg"):
        (tmp_path / "train2017" / name).touch()
    assert ImageFolders(tmp_path, ("train2017",)).find(1) == (0, "000000000001.jpg")


def test_a_folder_of_118_000_pictures_is_indexed_fast(tmp_path, monkeypatch):
    class Entry:
        def __init__(self, number):
            self.name = f"{number:012d}.jpg"

    class Listing(list):
        def __enter__(self):
            return self

        def __exit__(self, *args):
            return None

    (tmp_path / "train2017").mkdir()
    monkeypatch.setattr(os, "scandir", lambda folder: Listing(Entry(number) for number in range(118_000)))
    start = time.perf_counter()
    folders = ImageFolders(tmp_path, ("train2017",))
    assert folders.find(117_999) == (0, "000000117999.jpg")
    assert time.perf_counter() - start < 5
