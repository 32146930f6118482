"""Pictures with several labels each, as annotation files list them: plain rows, or COCO's instances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from lightning_cr.benchmarks.annotations import Files, Missing, Row, read_json, read_lines
from lightning_cr.benchmarks.labelled import Labelled, LabelledPart, Part, below
from lightning_cr.benchmarks.pictures import PictureFile
from lightning_cr.errors import ConfigError, DataError, suggest
from lightning_cr.images import ImageTree

__all__ = ["LabelledFile"]

_GET = "write JSON or JSON lines of {image, labels}, or fetch COCO's annotations_trainval2017.zip"
_GET_IMAGES = "fetch the pictures that the annotations name (COCO's from http://images.cocodataset.org/zips)"
_Labels = dict[str, set[str]]
"""Picture to what it shows."""


class LabelledFile(Labelled):
    """A file of each part: a list of ``{"image": ..., "labels": [...]}``, as JSON or JSON lines, or COCO's instances.

    Of ``instances_*.json`` a picture has the label of each category that any of its annotations has, crowds too; the
    80 classes come in the order of their ids. Of a list the classes are the labels that occur in the files that are
    read, in the order of the alphabet, unless ``classes`` gives them. Pictures are found as those of the other
    benchmarks: by path, and COCO's by number.

    Args:
        test: File to measure on; relative to ``--data.root`` unless absolute.
        train: File to fit on.
        val: File to choose the regularisation by.
        images: Folder of the pictures; ``--data.root`` unless given.
        classes: The labels that count; others in the files are an error.
        allow_missing: Pictures that may be missing; they are left out and counted.

    Raises:
        ConfigError: ``allow_missing`` below 0.
    """

    multi_label = True

    def __init__(
        self,
        test: str,
        train: str = "",
        val: str = "",
        images: str | None = None,
        classes: list[str] | None = None,
        allow_missing: int = 0,
    ) -> None:
        self.test, self.train, self.val = test, train, val
        self.images, self.allow_missing = images, allow_missing
        self.classes = classes or []
        self._given = bool(classes)
        self.missing = Missing("LabelledFile", allow_missing, _GET_IMAGES)

    def open(self, root: Path | None, parts: Sequence[Part]) -> dict[Part, LabelledPart]:
        """See :class:`Labelled`."""
        self.missing = Missing("LabelledFile", self.allow_missing, _GET_IMAGES)
        files: dict[Part, str] = {"train": self.train, "val": self.val, "test": self.test}
        self.files = {}
        rows: dict[Part, _Labels] = {}
        categories: dict[str, None] = {}
        for part in parts:
            if files[part]:
                rows[part], names = _read(below(root, files[part], "LabelledFile"), self.files)
                categories |= dict.fromkeys(names)
            elif part != "val":
                raise ConfigError(f"LabelledFile has no file to {part} on; set init_args.data.init_args.{part}")
        if not self._given:
            seen = {label for part in rows.values() for labels in part.values() for label in labels}
            self.classes = list(categories) or sorted(seen)
        folder = below(root, self.images or "", "LabelledFile")
        tree = ImageTree(folder)
        found = {part: self._part(files[part], labels, tree, folder) for part, labels in rows.items()}
        self.missing.check(folder)
        self.listed = len(rows["test"]) if "test" in rows else 0
        return found

    def _part(self, file: str, labels: _Labels, tree: ImageTree, folder: Path) -> LabelledPart:
        place = {name: at for at, name in enumerate(self.classes)}
        pictures, ids, columns = [], [], []
        for image, shown in labels.items():
            for label in shown - place.keys():
                raise DataError(
                    f"{file}: {image} has the label '{label}', which is none of the {len(place)} classes."
                    f"{suggest(label, place)} Add it to init_args.data.init_args.classes, or mend the file"
                )
            found = tree.find(image) or tree.find(f"images/{image}")
            if found is None:
                self.missing.add(image)
                continue
            pictures.append(PictureFile((folder / found).resolve()))
            ids.append(image)
            columns.append([place[label] for label in shown])
        table = torch.zeros(len(pictures), len(place), dtype=torch.int8)
        for row, column in enumerate(columns):
            table[row, column] = 1
        return LabelledPart(pictures, ids, table)


def _read(path: Path, files: Files) -> tuple[_Labels, list[str]]:
    """What each picture shows, and the categories where the file lists them."""
    if path.suffix == ".jsonl":
        return _listed(read_lines(path, _GET, files)), []
    data = read_json(path, _GET, files)
    if isinstance(data, list):
        return _listed(Row(path, number, entry) for number, entry in enumerate(data)), []
    if isinstance(data, dict) and all(
        isinstance(data.get(key), list) for key in ("images", "annotations", "categories")
    ):
        return _instances(path, data)
    raise DataError(
        f"{path} holds a {type(data).__name__}, expected is a list of rows with 'image' and 'labels', or COCO's object"
        f" with images, annotations and categories; {_GET}"
    )


def _listed(rows: Iterable[Row]) -> _Labels:
    found: _Labels = {}
    for row in rows:
        image, labels = row.get("image", str), row.get("labels", list[Any])
        if not all(isinstance(label, str) for label in labels):
            raise row.wrong("has no list of texts as 'labels'")
        if image in found:
            raise row.wrong(f"names {image}, which another row has; give each picture one row")
        found[image] = set(labels)
    return found


def _instances(path: Path, data: dict[str, list[Any]]) -> tuple[_Labels, list[str]]:
    names = {}
    for at, entry in enumerate(data["categories"]):
        row = Row(path, f"categories {at}", entry)
        names[row.get("id", int)] = row.get("name", str)
    files = {}
    for at, entry in enumerate(data["images"]):
        row = Row(path, f"images {at}", entry)
        files[row.get("id", int)] = row.get("file_name", str)
    found: _Labels = {name: set() for name in files.values()}
    for at, entry in enumerate(data["annotations"]):
        row = Row(path, f"annotations {at}", entry)
        image, category = row.get("image_id", int), row.get("category_id", int)
        if image not in files or category not in names:
            raise row.wrong(f"is about image {image} and category {category}, which the file does not list")
        found[files[image]].add(names[category])
    return found, [names[number] for number in sorted(names)]
