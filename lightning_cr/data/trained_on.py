"""Which pictures of COCO a model was trained on: what a benchmark shares with them it may know by heart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_cr.benchmarks.annotations import read_json
from lightning_cr.benchmarks.base import Benchmark
from lightning_cr.benchmarks.choice import FromFiles
from lightning_cr.data.coco_annotations import KARPATHY_SPLITS, is_karpathy
from lightning_cr.errors import DataError
from lightning_cr.images import coco_number

__all__ = ["count_trained_on", "read_numbers"]

_KEYS = ("image_id", "cocoid", "image", "filename", "file_name")
_SHAPES = (
    "a folder of COCO's pictures, COCO's captions_*.json or instances_*.json, Karpathy's dataset_coco.json, or a JSON"
    f" list of objects with one of {', '.join(_KEYS)}"
)


def count_trained_on(benchmarks: Mapping[str, Benchmark], names: Sequence[str], root: Path | None) -> None:
    """Tells each benchmark of files which of its pictures a model was trained on; sets :attr:`FromFiles.overlap`.

    Args:
        benchmarks: Opened ones, by name.
        names: See :func:`read_numbers`.
        root: ``--data.root``.

    Raises:
        DataError: A file or folder is missing, is of another shape, or has no picture of COCO.
    """
    numbers = {number for name in names for number in read_numbers((root or Path()) / Path(name).expanduser())}
    for benchmark in benchmarks.values():
        if isinstance(benchmark, FromFiles):
            benchmark.overlap = benchmark.overlapping(numbers)


def read_numbers(path: Path) -> frozenset[int]:
    """COCO's numbers of the pictures that a folder holds or a file of annotations names.

    The same picture has the same number in 2014 and 2017. Of Karpathy's ``dataset_coco.json`` the splits ``train`` and
    ``restval`` count, which papers train on. Pictures that Visual Genome and Visual7W took over from COCO have other
    numbers there and are not known by these.

    Args:
        path: A folder, or a JSON file of captions, of objects, or with a list of pictures.

    Raises:
        DataError: It is missing, is of another shape, or has no picture of COCO.
    """
    if path.is_dir():
        found = (coco_number(entry.name) for entry in path.iterdir())
    else:
        found = (_number(place) for place in _places(read_json(path, f"data.trained_on takes {_SHAPES}"), path))
    numbers = frozenset(number for number in found if number is not None)
    if not numbers:
        raise DataError(f"data.trained_on: {path} has no picture with a number of COCO; give {_SHAPES}")
    return numbers


def _places(data: Any, path: Path) -> Iterator[object]:
    """A picture's number or path, as the file gives it."""
    if isinstance(data, dict) and is_karpathy(data):
        rows = [row for row in data["images"] if isinstance(row, dict) and row.get("split") in KARPATHY_SPLITS["train"]]
    elif isinstance(data, dict) and isinstance(data.get("annotations"), list):
        rows = data["annotations"]
        yield from (row.get("id") for row in data.get("images") or () if isinstance(row, dict))
    elif isinstance(data, list):
        rows = data
    else:
        raise DataError(f"data.trained_on: {path} is of a shape that is not known; give {_SHAPES}")
    for row in rows:
        yield next((row[key] for key in _KEYS if key in row), None) if isinstance(row, dict) else None


def _number(place: object) -> int | None:
    if isinstance(place, str):
        return coco_number(place.replace("\\", "/").rpartition("/")[2])
    return place if type(place) is int else None
