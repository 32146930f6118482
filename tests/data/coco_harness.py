"""Small trees in COCO's layouts, and what the tests ask of them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from lightning_cr.data.base import sample_rng
from lightning_cr.data.coco import CocoFolder, CocoSplit
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import DataError

PREPROCESS = Preprocess(size=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
URL = "http://images.cocodataset.org"

# Image id to its captions.
TRAIN = {1: ["one a", "one b", "one c"], 2: ["two a", "two b"], 3: ["three"]}
VAL = {4: ["four a", "four b"], 5: ["five"]}


def picture(path: Path, image_id: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 20), (image_id, 0, 0)).save(path, lossless=True)


def annotations(path: Path, captions: dict, file_name="{:012d}.jpg") -> Path:
    rows = [(image_id, caption) for image_id, texts in captions.items() for caption in texts]
    data = {
        "images": [{"id": image_id, "file_name": file_name.format(image_id)} for image_id in captions],
        "annotations": [{"id": 100 + n, "image_id": i, "caption": caption} for n, (i, caption) in enumerate(rows)],
    }
    return write(path, data)


def write(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def tree(root: Path, year="2017", name="{:012d}.png", train=TRAIN, val=VAL, images=None) -> Path:
    for split, captions in (("train", train), ("val", val)):
        annotations(root / "annotations" / f"captions_{split}{year}.json", captions)
        for image_id in captions:
            picture((images or root) / f"{split}{year}" / name.format(image_id), image_id)
    return root


def opened(root: Path, **options) -> tuple[CocoSplit, CocoSplit]:
    """Both splits, or the error with which a fit stops."""
    source = CocoFolder(**options)
    splits = source.open(root, PREPROCESS, seed=0)
    if source.no_training:
        raise DataError(source.no_training)
    return splits


def contents(split: CocoSplit) -> dict[int, list[str]]:
    return {image_id: split.captions(index) for index, image_id in enumerate(split.image_ids)}


def refused(root: Path | None, **options) -> str:
    with pytest.raises(DataError) as caught:
        opened(root, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def drawn(split: CocoSplit, epoch=0, seed=0):
    return [split.sample(index, sample_rng(seed, epoch, index), epoch) for index in range(len(split))]


def karpathy(root: Path, at="dataset_coco.json") -> Path:
    rows = []
    for split, captions in (
        ("train", {1: TRAIN[1]}),
        ("restval", {2: TRAIN[2]}),
        ("val", VAL),
        ("test", {9: ["nine"]}),
    ):
        folder = "train2014" if split == "train" else "val2014"
        for image_id, texts in captions.items():
            name = f"COCO_{folder}_{image_id:012d}.png"
            picture(root / folder / name, image_id)
            sentences = [{"raw": text, "tokens": text.split()} for text in texts]
            rows.append(
                {"filepath": folder, "filename": name, "cocoid": image_id, "split": split, "sentences": sentences}
            )
    write(root / at, {"images": rows, "dataset": "coco"})
    return root
