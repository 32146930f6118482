"""Captions from a file of any of the usual shapes, with the picture each belongs to where the file says it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lightning_cr.errors import DataError

__all__ = ["Captions", "read_captions"]

_SHAPES = (
    "a text file (a caption a line), COCO's captions_*.json, Karpathy's dataset_coco.json, a .json list of"
    ' {"image", "caption": [...]}, or a .jsonl file of such objects'
)
Pair = tuple[object, object]
"""A caption and its picture, as the file gives them."""


class Captions:
    """What a file holds.

    Attributes:
        texts: The captions, in order.
        images: Of each the picture's path, its number in COCO, or None.
        problems: How many were left out or mended, by why.

    Args:
        split: Of Karpathy's JSON, the pictures to take; all where it is empty.
    """

    def __init__(self, split: str = "") -> None:
        self.split = split
        self.texts: list[str] = []
        self.images: list[str | int | None] = []
        self.problems: Counter[str] = Counter()

    def add(self, text: object, image: object) -> None:
        """Takes a caption in, or counts why not."""
        if not isinstance(text, str):
            self.problems["left out: no text"] += 1
        elif not (stripped := text.strip()):
            self.problems["left out: empty"] += 1
        else:
            self.texts.append(stripped)
            self.images.append(image if isinstance(image, (str, int)) else None)


def read_captions(path: Path, split: str = "") -> Captions:
    """Reads a file; its ending decides how.

    Args:
        path: The file.
        split: Of Karpathy's JSON, the pictures to take; all where it is empty.

    Raises:
        DataError: It is missing, cannot be read, is of another shape, or holds no caption.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is no file"
        raise DataError(f"--captions '{path}' {what} (looked for {path.resolve()}); give {_SHAPES}")
    found = Captions(split)
    try:
        for text, image in _READERS.get(path.suffix.lower(), _lines)(path, found):
            found.add(text, image)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())}; give {_SHAPES}") from error
    if not found.texts:
        why = ", ".join(f"{count} {reason}" for reason, count in found.problems.items())
        raise DataError(f"{path} holds no caption{f' ({why})' if why else ': it is empty'}; give {_SHAPES}")
    return found


def _lines(path: Path, found: Captions) -> Iterator[Pair]:
    with path.open("rb") as file:
        for line in file:
            try:
                text = line.decode("utf-8-sig")
            except UnicodeDecodeError:
                text = line.decode("utf-8", "replace")
                found.problems["mended: no UTF-8"] += 1
            yield text, None


def _json(path: Path, found: Captions) -> Iterator[Pair]:
    with path.open(encoding="utf-8-sig") as file:
        data = json.load(file)
    if isinstance(data, list):
        for item in data:
            yield from _item(item)
    elif isinstance(data, dict) and isinstance(data.get("annotations"), list):
        for item in data["annotations"]:
            yield (item.get("caption"), item.get("image_id")) if isinstance(item, dict) else (None, None)
    elif isinstance(data, dict) and isinstance(data.get("images"), list):
        for image in data["images"]:
            if not found.split or not isinstance(image, dict) or image.get("split") == found.split:
                yield from _karpathy(image)
    else:
        raise DataError(f"{path} holds no captions that are known; give {_SHAPES}")


def _json_lines(path: Path, found: Captions) -> Iterator[Pair]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                try:
                    item = json.loads(line)
                except (ValueError, RecursionError):
                    found.problems["left out: no JSON"] += 1
                else:
                    yield from _item(item)


def _item(item: Any) -> Iterator[Pair]:
    """A caption, or a picture with one or several."""
    if not isinstance(item, dict):
        yield item, None
        return
    image = item.get("image", item.get("image_id"))
    texts = item.get("caption")
    for text in texts if isinstance(texts, list) else [texts]:
        yield text, image


def _karpathy(image: Any) -> Iterator[Pair]:
    if not isinstance(image, dict) or not isinstance(sentences := image.get("sentences"), list):
        yield None, None
        return
    parts = (image.get("filepath"), image.get("filename"))
    path = "/".join(part for part in parts if isinstance(part, str) and part)
    for sentence in sentences:
        yield (sentence.get("raw") if isinstance(sentence, dict) else None), path or None


_READERS: dict[str, Callable[[Path, Captions], Iterator[Pair]]] = {".json": _json, ".jsonl": _json_lines}
