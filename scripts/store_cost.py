"""What image negatives from a store cost to load, beside the positives, on one core.

    python scripts/store_cost.py PHOTOS --sides 256 384 512

PHOTOS is a data set in COCO's layout. Its training pictures are resized to a longer side of 256, 384, ... pixels and
encoded as JPEG (quality 90); the same bytes go into a folder, as positives, and into a store, as the pictures of one
wrong caption each. Measured is processor time, so that what else runs on the machine counts for little: of one picture
read, decoded and cropped to 224 from either; and of a loader's batches with the store and without.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from lightning_cr.data import CocoFolder, StoredPictures
from lightning_cr.data.base import Split
from lightning_cr.data.collate import Collate, TrainingSamples
from lightning_cr.encoders import EncoderConfig, build_encoder
from lightning_cr.encoders.preprocess import resize_and_crop
from lightning_cr.images import read_image
from lightning_cr.negatives.image import Made, PictureStore
from lightning_cr.negatives.text import TextNegatives

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="annotations/captions_train2017.json and train2017/")
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 384, 512], help="longer side, pixels")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    encoder = build_encoder(EncoderConfig(name="ViT-B-32-quickgelu", pretrained=""))
    for side in given.sides:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            copy(given.photos, root, side)
            store = PictureStore(root / "store")
            paths = sorted((root / "train2017").iterdir())
            rows = list(range(len(store)))

            def positive(at: int, paths: list[Path] = paths) -> None:
                resize_and_crop(read_image(paths[at]), encoder.preprocess, random.Random(at))

            def stored(at: int, store: PictureStore = store, rows: list[int] = rows) -> None:
                resize_and_crop(store.image(rows[at]), encoder.preprocess, random.Random(at))

            # In turn, so that both see the machine in the same state.
            ways = {"from a file": positive, "from the store": stored}
            spent: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(given.repeats):
                for name, work in ways.items():
                    spent[name].append(timed(work, len(paths)))
            size = statistics.mean(path.stat().st_size for path in paths)
            told(f"one picture of {side} pixels, {size / 1024:.0f} KiB", spent)

            train, _ = CocoFolder(train_annotations="captions.json", val_annotations="none").open(
                root, encoder.preprocess, 0
            )
            door = StoredPictures(str(root / "store"))
            door.open(train, encoder.preprocess)
            loaders = {"without": loader(train, encoder, None), "with": loader(train, encoder, door)}
            spent = {name: [] for name in loaders}
            for _ in range(given.repeats):
                for name, batch in loaders.items():
                    spent[name].append(timed(batch, len(train) // BATCH) / BATCH)
            told("one sample of a batch, image negatives", spent)


def copy(photos: Path, root: Path, side: int) -> None:
    """The pictures at another size, with one caption each, and a store of the same bytes."""
    data = json.loads((photos / "annotations" / "captions_train2017.json").read_text(encoding="utf-8"))
    names = {entry["id"]: entry["file_name"] for entry in data["images"]}
    kept = list({entry["image_id"]: entry for entry in data["annotations"]}.values())
    (root / "train2017").mkdir()
    (root / "captions.json").write_text(json.dumps(data | {"annotations": kept}), encoding="utf-8")
    rows, pictures = [], []
    for entry in kept:
        number, caption = entry["image_id"], entry["caption"]
        picture = Image.open(photos / "train2017" / names[number]).convert("RGB")
        scale = side / max(picture.size)
        width, height = (round(length * scale) for length in picture.size)
        buffer = io.BytesIO()
        picture.resize((width, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=90)
        (root / "train2017" / names[number]).write_bytes(buffer.getvalue())
        edit = {"kind": "concrete", "original": "", "replacement": "not ", "start": 0, "end": 0}
        made = {"seed": 0, "pipeline": "none", "dropped": "", "text_margin": None, "image_margin": None}
        false = f"not {caption}"
        rows.append(Made(str(number), number, number, caption, false, **edit, concreteness=None, **made))
        pictures.append(buffer.getvalue())
    store = PictureStore(root / "store", create=True)
    store.write("all", rows, pictures)
    store.merge()


def loader(train: Split, encoder: object, door: StoredPictures | None) -> Callable[[int], None]:
    kinds = door.kinds if door else ()
    samples = TrainingSamples(train, TextNegatives(), kinds, 0, image_negatives=door)
    collate = Collate(encoder.tokenizer, kinds, door is not None)

    def batch(number: int) -> None:
        collate([samples[0, index] for index in range(number * BATCH, (number + 1) * BATCH)])

    return batch


def timed(work: Callable[[int], None], count: int) -> float:
    """Seconds of processor time a piece."""
    work(0)
    start = time.process_time()
    for at in range(count):
        work(at)
    return (time.process_time() - start) / count


def told(what: str, spent: dict[str, list[float]]) -> None:
    middle = {name: statistics.median(values) for name, values in spent.items()}
    first, second = middle
    parts = ", ".join(f"{name} {1000 * value:.2f} ms" for name, value in middle.items())
    print(f"{what}: {parts}, {1 / middle[first]:.0f} and {1 / middle[second]:.0f} a second", end="")
    print(f"; ratio {middle[second] / middle[first]:.2f}")


if __name__ == "__main__":
    main()
