"""COCO's annotation files: captions_*.json and Karpathy's dataset_coco.json, read entry by entry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_cr.benchmarks.annotations import read_json as read_any
from lightning_cr.errors import DataError

__all__ = ["KARPATHY_SPLITS", "Entry", "Problems", "is_karpathy", "read_entries", "read_json"]

# Restval is the part of val2014 that Karpathy's split gives to training; its test split is for the benchmarks.
KARPATHY_SPLITS = {"train": ("train", "restval"), "val": ("val",)}
_SHAPES = "expected is captions_*.json ('annotations': [{'image_id', 'caption'}]) or Karpathy's dataset_coco.json"
_SHOWN = 10  # bad entries that an error names


@dataclass(slots=True)
class Entry:
    """A picture: what the annotations say of it, and where it is (index into the folders, name)."""

    file_name: str
    folder: str
    captions: list[str] = field(default_factory=list)
    place: tuple[int, str] = (0, "")


class Problems:
    """Entries that cannot be used: how many, and the first of them, as many as are allowed or an error names."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.count = 0
        self.first: list[str] = []

    def add(self, line: str) -> None:
        """Counts one entry; the line says which and why."""
        self.count += 1
        if len(self.first) < max(self.allowed, _SHOWN):
            self.first.append(line)

    @property
    def shown(self) -> list[str]:
        """The first of them, no more than a person reads."""
        return self.first[:_SHOWN]

    def check(self) -> None:
        """Stops past what is allowed.

        Raises:
            DataError: With the count, the first entries, and the flag that lets them pass.
        """
        if self.count > self.allowed:
            raise DataError(
                f"{self.count} entries of the data set cannot be used, {self.allowed} are allowed: "
                f"{'; '.join(self.shown)}{'; ...' if self.count > _SHOWN else ''}; "
                f"mend them, or skip them with --data.source.max_skipped={self.count}"
            )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: The file cannot be read, or is malformed; names line and column.
    """
    data = read_any(path, "mend it or fetch it again")
    if not isinstance(data, dict):
        raise DataError(f"{path} holds a {type(data).__name__}, not an object with the key 'annotations'; {_SHAPES}")
    return data


def _rows(data: dict[str, Any], key: str, path: Path, needed: Sequence[str]) -> list[dict[str, Any]]:
    """The rows under a key; the first one tells whether the file has the right shape, the others are judged singly."""
    rows = data.get(key)
    if not isinstance(rows, list):
        raise DataError(f"{path} has no list under the key '{key}'; {_SHAPES}")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}: number {number} of '{key}' is no object but {str(row)[:40]!r}; {_SHAPES}")
    for name in needed if rows else ():
        if name not in rows[0]:
            raise DataError(f"{path}: the first of '{key}' has no key '{name}'; {_SHAPES}")
    return rows


def is_karpathy(data: dict[str, Any]) -> bool:
    """Whether it is Karpathy's shape: pictures with sentences, and a split each."""
    rows = data.get("images")
    first = rows[0] if isinstance(rows, list) and rows else None
    return "annotations" not in data and isinstance(first, dict) and "sentences" in first


def _captions(data: dict[str, Any], path: Path, split: str) -> Iterator[tuple[str, object, object, str, str]]:
    """For each caption: what to call it, image id, text, file name and folder of the picture."""
    if is_karpathy(data):
        for row in _rows(data, "images", path, ("cocoid", "split", "filename", "sentences")):
            if row.get("split") in KARPATHY_SPLITS[split]:
                image_id, name, folder = row.get("cocoid"), str(row.get("filename")), str(row.get("filepath", ""))
                sentences = row.get("sentences")
                for number, sentence in enumerate(sentences if isinstance(sentences, list) else ()):
                    text = sentence.get("raw") if isinstance(sentence, dict) else None
                    yield f"sentence {number} of image {image_id}", image_id, text, name, folder
        return
    rows = _rows(data, "annotations", path, ("image_id", "caption"))
    images = _rows(data, "images", path, ("id",)) if "images" in data else []
    names = {str(image.get("id")): str(image.get("file_name", "")).rpartition("/")[2] for image in images}
    match = re.search(r"(train|val)(\d{4})?", path.name)
    folder = match.group() if match else split
    for number, row in enumerate(rows):
        image_id, name = row.get("image_id"), names.get(str(row.get("image_id")), "")
        yield f"annotation {row.get('id', number)}", image_id, row.get("caption"), name, folder


def read_entries(data: dict[str, Any], path: Path, split: str, problems: Problems) -> dict[int, Entry]:
    """Image id to its captions that have text; a picture without any is left out."""
    entries: dict[int, Entry] = {}
    for what, image_id, caption, name, folder in _captions(data, path, split):
        if type(image_id) is not int or not 0 <= image_id < 2**63:
            problems.add(f"{path}: {what}: the image id is {str(image_id)[:40]!r}, not a number")
        elif not isinstance(caption, str):
            problems.add(f"{path}: {what}: the caption is of type {type(caption).__name__}, not text")
        elif not (caption := caption.strip()):
            problems.add(f"{path}: {what}: the caption is empty")
        elif image_id in entries:
            entries[image_id].captions.append(caption)
        else:
            entries[image_id] = Entry(name, folder, [caption])
    return entries
