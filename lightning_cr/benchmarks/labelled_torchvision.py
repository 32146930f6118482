"""Labelled pictures of torchvision's data sets, where they already lie on the disk; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch

from lightning_cr.benchmarks.base import Picture
from lightning_cr.benchmarks.labelled import Labelled, LabelledPart, Part, below
from lightning_cr.benchmarks.pictures import ArrayPicture, PictureFile
from lightning_cr.errors import ConfigError, DataError, suggest

__all__ = ["LabelledTorchvision"]

_Splits = Mapping[Part, Mapping[str, Any]]
_FLAG: _Splits = {"train": {"train": True}, "test": {"train": False}}
_TWO: _Splits = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE: _Splits = {**_TWO, "val": {"split": "val"}}
_VAL_IS_TEST: _Splits = {"train": {"split": "train"}, "test": {"split": "val"}}  # the labels of the test are not public
_WHOLE: _Splits = {"test": {}}  # no split is defined: for zero-shot classification alone

_IN_MEMORY: Mapping[str, _Splits] = {
    "CIFAR10": _FLAG,
    "CIFAR100": _FLAG,
    "MNIST": _FLAG,
    "FashionMNIST": _FLAG,
    "STL10": _TWO,
    "SVHN": _TWO,
}
_ON_DISK: Mapping[str, _Splits] = {
    "Country211": {**_TWO, "val": {"split": "valid"}},
    "DTD": _THREE,
    "EuroSAT": _WHOLE,
    "FGVCAircraft": _THREE,
    "Flowers102": _THREE,
    "Food101": _TWO,
    "ImageNet": _VAL_IS_TEST,
    "Imagenette": _VAL_IS_TEST,
    "RenderedSST2": _THREE,
    "SUN397": _WHOLE,
    "StanfordCars": _TWO,
}
_VOC: Mapping[str, _Splits] = {
    "2007": {"train": {"image_set": "train"}, "val": {"image_set": "val"}, "test": {"image_set": "test"}},
    "2012": {"train": {"image_set": "train"}, "test": {"image_set": "val"}},
}
_THINGS = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


class LabelledTorchvision(Labelled):
    """A data set of torchvision by the name of its class: CIFAR10, Food101, ImageNet, VOCDetection and others.

    The splits are torchvision's; ImageNet's, Imagenette's and VOC2012's ``val`` is the test here, and EuroSAT and
    SUN397, of which none is defined, are one test.

    VOCDetection has several labels a picture: the 20 classes. One of which all things in the picture are marked
    difficult is neither learned from nor counted, as in VOC's development kit.

    Args:
        dataset: The class in ``torchvision.datasets``.
        folder: What torchvision calls ``root``; relative to ``--data.root`` unless absolute, ``--data.root`` itself
            unless given.
        year: Of VOCDetection, 2007 or 2012.

    Raises:
        ConfigError: A data set or year that is not known here.
    """

    def __init__(self, dataset: str, folder: str = "", year: str = "2007") -> None:
        known = {**_IN_MEMORY, **_ON_DISK, "VOCDetection": _VOC.get(year, {})}
        if dataset not in known:
            raise ConfigError(
                f"no data set '{dataset}'.{suggest(dataset, known)} Known are {', '.join(sorted(known))}; of others"
                " write the pictures into folders for LabelledFolders"
            )
        if year not in _VOC:
            raise ConfigError(f"year is '{year}'; VOCDetection has {' and '.join(_VOC)} here")
        self.dataset, self.folder, self.year = dataset, folder, year
        self.multi_label = dataset == "VOCDetection"
        self._splits: _Splits = known[dataset]

    def open(self, root: Path | None, parts: Sequence[Part]) -> dict[Part, LabelledPart]:
        """See :class:`Labelled`."""
        folder = below(root, self.folder, "LabelledTorchvision")
        found = {}
        for part in parts:
            if part in self._splits:
                found[part] = self._part(folder, self._splits[part])
            elif part != "val":
                raise ConfigError(
                    f"torchvision's {self.dataset} has no part to {part} on; it has {', '.join(self._splits)}: measure"
                    " it by ZeroShot, or write it into folders for LabelledFolders"
                )
        return found

    def _part(self, folder: Path, options: Mapping[str, Any]) -> LabelledPart:
        if self.multi_label:
            return self._voc(self._opened(folder, year=self.year, **options))
        # A loader that returns the path gives the list of files without reading one.
        rows = (
            self._opened(folder, **options)
            if self.dataset in _IN_MEMORY
            else self._opened(folder, **options, loader=Path)
        )
        pictures: list[Picture] = []
        labels: list[int] = []
        for at in range(len(rows)):
            picture, label = rows[at]
            shown = PictureFile(picture.resolve()) if isinstance(picture, Path) else ArrayPicture(np.asarray(picture))
            pictures.append(shown)
            labels.append(int(label))
        names = getattr(rows, "classes", [str(number) for number in range(10)])  # SVHN has none
        self.classes = [name if isinstance(name, str) else ", ".join(name) for name in names]
        return LabelledPart(pictures, [str(at) for at in range(len(rows))], torch.tensor(labels, dtype=torch.long))

    def _opened(self, folder: Path, **options: Any) -> Any:
        from torchvision import datasets

        try:
            return getattr(datasets, self.dataset)(str(folder), **options)
        except ImportError as error:
            raise ConfigError(
                f"torchvision's {self.dataset} needs {error.name or error}; run: pip install {error.name or error}"
            ) from None
        except (RuntimeError, OSError) as error:
            said = {key: value for key, value in options.items() if key != "loader"}
            arguments = "".join(f", {key}={value!r}" for key, value in said.items())
            get = (
                "fetch the archives that https://image-net.org gives to registered users into it"
                if self.dataset == "ImageNet"
                else f'run: python -c "from torchvision.datasets import {self.dataset};'
                f" {self.dataset}('{folder}'{arguments}, download=True)\""
            )
            raise DataError(
                f"torchvision's {self.dataset} is not in {folder} ({' '.join(str(error).split())}); {get}"
            ) from None

    def _voc(self, rows: Any) -> LabelledPart:
        self.classes = _THINGS
        place = {name: at for at, name in enumerate(_THINGS)}
        labels = torch.zeros(len(rows.images), len(_THINGS), dtype=torch.int8)
        for row, path in enumerate(rows.annotations):
            try:
                things = ElementTree.parse(path).getroot().iter("object")
                shown = [(place[thing.findtext("name", "")], thing.findtext("difficult", "0")) for thing in things]
            except (OSError, ElementTree.ParseError, KeyError) as error:
                raise DataError(f"cannot read {path}: {error}; fetch VOC's archive again") from None
            for column, difficult in shown:
                labels[row, column] = 1 if difficult == "0" or labels[row, column] == 1 else -1
        files = [Path(path) for path in rows.images]
        return LabelledPart([PictureFile(path.resolve()) for path in files], [path.stem for path in files], labels)
