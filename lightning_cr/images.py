"""Pictures on disk: reading one whatever its state and mode, and finding one by its number."""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from lightning_cr.errors import DataError

__all__ = [
    "COCO_FOLDERS",
    "MAX_ASPECT",
    "MAX_PIXELS",
    "MIN_SIDE",
    "ImageFolders",
    "ImageTree",
    "UnreadableImage",
    "read_image",
]

COCO_FOLDERS = ("train2017", "val2017", "train2014", "val2014")
"""Where COCO keeps its pictures."""

MIN_SIDE = 4
"""Pixels; a picture with a shorter side is a tracking pixel or a failed download, not something to learn from."""

MAX_ASPECT = 50
"""Longest side over the shortest; beyond it, the square crop shows nothing of the picture (and resizing the short
side to the input size would need gigabytes)."""

MAX_PIXELS = 1 << 27
"""134 million, 400 MB once decoded; a file that claims more is taken for a decompression bomb."""

# Pillow reads some 40 formats; those beyond these are no photographs, and some start other programs (EPS).
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Silencing warnings changes the whole process: two threads that do it at once could leave them silenced for good.
# A worker that is forked while another thread holds the lock must not inherit it locked.
_QUIET = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_QUIET.acquire, after_in_parent=_QUIET.release, after_in_child=_QUIET.release)


class UnreadableImage(DataError):  # noqa: N818 - the state of a file
    """A picture that is missing, broken or of no use; the message is one line with the path and why."""


def read_image(path: str | Path, data: bytes | None = None) -> Image.Image:
    """Reads one picture, upright and in RGB.

    Transparent parts are laid over white; CMYK, palettes and 16-bit grey are converted; the EXIF orientation is
    applied; of an animation it is the first frame. No warning of Pillow gets out.

    Args:
        path: The file; its contents decide about the format, not its name.
        data: Its contents, where they were read already; ``path`` then only names them.

    Raises:
        UnreadableImage: The file is missing, empty, truncated or no picture, has a side below :data:`MIN_SIDE`, an
            aspect beyond :data:`MAX_ASPECT`, or more than :data:`MAX_PIXELS`.
    """
    try:
        with open(path, "rb") if data is None else io.BytesIO(data) as file:
            if file.seek(0, os.SEEK_END) == 0:
                raise _unreadable(path, "the file is empty (0 bytes)")
            file.seek(0)
            with _QUIET, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = Image.open(file, formats=_FORMATS)
                _check_size(path, *image.size)
                orientation = _orientation(image)
            with image:
                image.load()
                return _upright(_to_rgb(image), orientation)
    except UnreadableImage:
        raise
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file") from None
    except UnidentifiedImageError:
        raise _unreadable(path, f"it is not an image (formats: {', '.join(_FORMATS)})") from None
    except Exception as error:  # broken files make Pillow raise OSError, SyntaxError, ValueError, struct.error ...
        raise _unreadable(path, " ".join(str(error).split()) or type(error).__name__) from error


class ImageFolders:
    """The pictures in some folders below a root, each folder listed once; found by name, or by number in COCO's forms.

    ``000000000001.jpg``, ``COCO_train2014_000000000001.jpg`` and ``1.png`` are all number 1.

    Args:
        root: The data root.
        names: Folders to look for in it, and in its ``images/``; those that are absent are passed over.

    Attributes:
        paths: The folders that are there.
    """

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        candidates = [base / name for name in names for base in (root, root / "images")]
        self.paths = [folder for folder in candidates if folder.is_dir()]
        self._listings = [_list_folder(folder) for folder in self.paths]
        self._orders: dict[str, list[int]] = {}

    def find(self, image_id: int, file_name: str = "", prefer: str = "") -> tuple[int, str] | None:
        """Where a picture is.

        Args:
            image_id: Its number.
            file_name: Its name according to the annotations, if known; it wins over the number within a folder.
            prefer: The folder where it should be (``train2017``); then those of the same split, then the others.

        Returns:
            Index into :attr:`paths` and the name of the file there; None where no folder has it.
        """
        for folder in self._order(prefer):
            names, by_number = self._listings[folder]
            if file_name in names:
                return folder, file_name
            if image_id in by_number:
                return folder, by_number[image_id]
        return None

    def _order(self, prefer: str) -> list[int]:
        if prefer not in self._orders:
            split = prefer.rstrip("0123456789")

            def rank(index: int) -> int:
                name = self.paths[index].name
                return 0 if name == prefer else 1 if name.startswith(split) else 2

            self._orders[prefer] = sorted(range(len(self.paths)), key=rank)
        return self._orders[prefer]


class ImageTree:
    """Finds pictures below a root, whatever its layout; each folder is listed once.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[str, frozenset[str]] = {}

    def find(self, image: str | int) -> str | None:
        """The path of a picture below the root, given its path in somebody's tree, or its number in COCO."""
        if isinstance(image, int):
            return self._by_number(image)
        path = image.replace("\\", "/")
        parts = path.split("/")
        for start in range(len(parts)):
            folder, name = "/".join(parts[start:-1]), parts[-1]
            if name in self._listing(folder):
                return f"{folder}/{name}" if folder else name
        match = _COCO_NAME.fullmatch(parts[-1])
        return self._by_number(int(match[1]), parts[-1], parts[-2] if len(parts) > 1 else "") if match else None

    def _by_number(self, number: int, name: str = "", folder: str = "") -> str | None:
        place = self._coco.find(number, name, folder)
        return str((self._coco.paths[place[0]] / place[1]).relative_to(self.root)) if place else None

    @cached_property
    def _coco(self) -> ImageFolders:
        return ImageFolders(self.root, COCO_FOLDERS)

    def _listing(self, folder: str) -> frozenset[str]:
        if folder not in self._listings:
            try:
                names = frozenset(path.name for path in (self.root / folder).iterdir())
            except (OSError, ValueError):  # no such folder, or a name that no folder can have
                names = frozenset()
            self._listings[folder] = names
        return self._listings[folder]


_COCO_NAME = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d{12})\.\w+")
_IMAGE_NAME = re.compile(r"(?P<stem>[^.].*)\.(?:jpe?g|png|webp)", re.IGNORECASE)  # "._1.jpg" is macOS's litter
_NUMBERED = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d{1,18})")


def _list_folder(folder: Path) -> tuple[set[str], dict[int, str]]:
    names: set[str] = set()
    by_number: dict[int, str] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if match := _IMAGE_NAME.fullmatch(entry.name):
                names.add(entry.name)
                if number := _NUMBERED.fullmatch(match["stem"]):
                    # The order of scandir is the file system's: of two names for one number take always the same.
                    key = int(number[1])
                    by_number[key] = min(entry.name, by_number.get(key, entry.name))
    return names, by_number


def _unreadable(path: str | Path, why: str) -> UnreadableImage:
    return UnreadableImage(f"cannot use the image {path}: {why}; fetch it again or take it out of the annotations")


def _check_size(path: str | Path, width: int, height: int) -> None:
    """Judges by the header alone, before a pixel is decoded."""
    short, long = sorted((width, height))
    if short < MIN_SIDE:
        raise _unreadable(path, f"it is {width}x{height}, each side must have {MIN_SIDE} pixels or more")
    if long > MAX_ASPECT * short:
        raise _unreadable(path, f"it is {width}x{height}, one side may be {MAX_ASPECT} times the other at the most")
    if width * height > MAX_PIXELS:
        raise _unreadable(path, f"it is {width}x{height}, {MAX_PIXELS} pixels are allowed")


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow turns these itself when it loads them
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block of any sort; the pixels are sound
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey_to_rgb(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    """Pillow clips these modes at 255, which makes most of them white; scale them instead.

    Full scale is 65535 for 16-bit integers, else the least of 1 (floats alone), 255 and 65535 that the values fit in.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    scales = {"F": (1, 255), "I": (255,)}.get(image.mode, ())
    full = next((scale for scale in scales if values.max() <= scale), 65535)
    grey = np.rint(values.clip(0, full) * (255 / full)).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
