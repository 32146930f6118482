"""One picture, one true caption and some false ones: the form of most benchmarks of composition."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lightning_cr.benchmarks.annotations import Missing, Row, read_json, read_lines, read_rows
from lightning_cr.benchmarks.base import Benchmark, Judged, Pictures, Similarity
from lightning_cr.benchmarks.pictures import PictureFile
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError
from lightning_cr.images import ImageTree, coco_number

__all__ = ["Choice", "Example", "FromFiles", "Overlap", "Placed"]


@dataclass(frozen=True)
class Example:
    """A row of a benchmark.

    Attributes:
        subset: Its part.
        id: Its name in the part.
        images: Paths as the annotations have them, or numbers in COCO.
        true: Captions that hold, of the first picture or of each.
        false: Captions that do not.
        box: Left, top, right and bottom of the rectangle that counts.
    """

    subset: str
    id: str
    images: tuple[str | int, ...]
    true: tuple[str, ...]
    false: tuple[str, ...] = ()
    box: tuple[int, int, int, int] | None = None


class Placed(NamedTuple):
    """A row whose pictures are there; numbers are places in the benchmark's lists."""

    example: Example
    pictures: list[int]
    true: list[int]
    false: list[int]


class Overlap(NamedTuple):
    """Pictures of a benchmark that a model was trained on, as far as COCO's numbers tell."""

    pictures: int
    rows: int
    numbered: int
    """Pictures of the benchmark that have a number in COCO; of the others nothing is known."""


class FromFiles(Benchmark):
    """A benchmark of annotation files and pictures on disk.

    Pictures are found by the path that the annotations give, with and without its first folders, and those of COCO by
    number, so that one tree of COCO, 2014 or 2017, serves all benchmarks.

    Args:
        annotations: Folder or file of the annotations; relative to ``--data.root`` unless absolute.
        images: Folder of the pictures, likewise; ``--data.root`` unless given.
        allow_missing: Pictures that may be missing; rows with them are left out and counted.
        per_subset: Of each subset so many rows, the first that have their pictures, for a look during training; 0 takes
            all.

    Attributes:
        duplicates: Rows that say what another row of their subset says; they are scored.
        contradictory: Rows in which a false caption is a true one, letter by letter: ties whatever the model.
        overlap: With :attr:`CompositionData.trained_on`; None where that is empty.
        files: Size and digest of each annotation file, by its place from that of the annotations.
        file_of: ``(pictures,)``, the file of each: rectangles of one file are resampled together.

    Raises:
        ConfigError: ``allow_missing`` or ``per_subset`` below 0.
    """

    duplicates: int = 0
    contradictory: int = 0
    overlap: Overlap | None = None
    get_annotations = ""
    """Where the annotations come from."""

    get_images = "fetch COCO's val2017.zip (or val2014.zip) from http://images.cocodataset.org/zips"
    """Where the pictures come from."""

    def __init__(
        self, annotations: str, images: str | None = None, allow_missing: int = 0, per_subset: int = 0
    ) -> None:
        if per_subset < 0:
            raise ConfigError(f"per_subset of {type(self).__name__} is {per_subset}; it must be 0 (all) or more")
        self.annotations, self.images, self.per_subset = annotations, images, per_subset
        self.allow_missing = allow_missing
        self.missing = Missing(type(self).__name__, allow_missing, self.get_images)
        self._read: dict[Path, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}

    @abstractmethod
    def examples(self, annotations: Path) -> Iterator[Example]:
        """The rows that are to be scored; sets :attr:`listed`.

        Args:
            annotations: The folder or file.

        Raises:
            DataError: It is missing or not what it should be.
        """

    def lines_of(self, path: Path) -> Iterator[Row]:
        """See :func:`read_lines`; the file is noted in :attr:`files`."""
        return read_lines(path, self.get_annotations, self._read)

    def json_of(self, path: Path) -> Any:
        """See :func:`read_json`; the file is noted in :attr:`files`."""
        return read_json(path, self.get_annotations, self._read)

    def rows_of(self, path: Path) -> Iterator[Row]:
        """See :func:`read_rows`; the file is noted in :attr:`files`."""
        return read_rows(path, self.get_annotations, self._read)

    def open(self, root: Path | None, preprocess: Preprocess, held_out: Pictures) -> None:
        """Reads the annotations and finds the pictures.

        Raises:
            DataError: A file or more pictures than allowed are missing, or a file is not what it should be.
        """
        if root is None and not self.images:
            raise DataError(f"{type(self).__name__} has no pictures; set --data.root, or its init_args.images")
        base = root or Path()
        folder, annotations = (base / Path(place or "").expanduser() for place in (self.images, self.annotations))
        self.missing = Missing(type(self).__name__, self.allow_missing, self.get_images)
        self._read.clear()
        tree = ImageTree(folder)
        pictures: dict[PictureFile, int] = {}
        captions: dict[str, int] = {}
        coco: dict[int, int | None] = {}
        self.rows: list[Placed] = []
        taken: Counter[str] = Counter()
        seen: Counter[str] = Counter()
        for example in self.examples(annotations):
            if self.per_subset and taken[example.subset] >= self.per_subset:
                continue
            places = [self.place(tree, image) for image in example.images]
            for image, place in zip(example.images, places, strict=True):
                if place is None:
                    self.missing.add(str(image))
            if None not in places:
                shown = [PictureFile((folder / str(place)).resolve(), example.box) for place in places]
                numbers = [pictures.setdefault(picture, len(pictures)) for picture in shown]
                for number, place in zip(numbers, places, strict=True):
                    # Of the name in the tree: a link may lead to a file that is named otherwise.
                    coco.setdefault(number, coco_number(Path(str(place)).name))
                true, false = (
                    [captions.setdefault(text, len(captions)) for text in texts]
                    for texts in (example.true, example.false)
                )
                row = Placed(example, numbers, true, false)
                seen[str((example.subset, *row[1:]))] += 1
                self.rows.append(row)
                taken[example.subset] += 1
        self._numbers = [coco[number] for number in range(len(pictures))]
        self.duplicates = seen.total() - len(seen)
        self.contradictory = sum(not set(row.true).isdisjoint(row.false) for row in self.rows)
        beside = annotations if annotations.is_dir() else annotations.parent
        self.files = {Path(os.path.relpath(path, beside)).as_posix(): found for path, found in self._read.items()}
        self.missing.check(folder)
        files: dict[Path, int] = {}
        self.file_of = torch.tensor(
            [files.setdefault(picture.path, len(files)) for picture in pictures], dtype=torch.long
        )
        self.pictures, self.captions, self.used = list(pictures), list(captions), len(self.rows)
        if not self.rows:
            raise DataError(f"{type(self).__name__}: {annotations} has no rows with a picture; {self.get_annotations}")

    def overlapping(self, numbers: Collection[int]) -> Overlap:
        """Counts the pictures, and the rows with one, that have one of COCO's numbers; they stay in.

        Args:
            numbers: Of the pictures that a model was trained on.
        """
        own = self._numbers
        shared = {at for at, number in enumerate(own) if number in numbers}
        rows = sum(not shared.isdisjoint(row.pictures) for row in self.rows)
        return Overlap(len(shared), rows, sum(number is not None for number in own))

    def place(self, tree: ImageTree, image: str | int) -> str | None:
        """Where a picture is below the folder."""
        return tree.find(image) or (tree.find(f"images/{image}") if isinstance(image, str) else None)


class Choice(FromFiles):
    """The true caption must be nearer to the picture than every false one."""

    def judge(self, similarity: Similarity) -> Judged:
        """The margin to the nearest false caption."""
        names = list(dict.fromkeys(row.example.subset for row in self.rows))
        place = {name: at for at, name in enumerate(names)}
        widest = max(len(row.false) for row in self.rows)
        picture = torch.tensor([row.pictures[0] for row in self.rows])
        true = torch.tensor([row.true[0] for row in self.rows])
        false = torch.tensor([(row.false + row.false[-1:] * widest)[:widest] for row in self.rows])
        margin = similarity.between(picture, true) - similarity.between(picture[:, None], false).amax(1)
        return Judged(
            subsets=names,
            subset=torch.tensor([place[row.example.subset] for row in self.rows]),
            margin=margin,
            cluster=self.file_of[picture],
            ids=[row.example.id for row in self.rows],
        )
