"""Pictures with labels: what zero-shot classification and linear probes read, wherever it comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lightning_cr.benchmarks.annotations import Files
from lightning_cr.benchmarks.base import Picture
from lightning_cr.benchmarks.pictures import ArrayPicture
from lightning_cr.errors import ConfigError, DataError

__all__ = ["Labelled", "LabelledArrays", "LabelledPart", "Part", "below"]

Part = Literal["train", "val", "test"]
"""To fit, to choose the regularisation by, and to measure."""


@dataclass(frozen=True)
class LabelledPart:
    """Some pictures and what they show.

    Attributes:
        pictures: N of them.
        ids: Name of each, unlike the others.
        labels: ``(N,)`` int64, the class of each; or, of several labels a picture, ``(N, K)`` int8: 1 where it has the
            label, 0 where it has not, -1 where that is not said (VOC's difficult things): such a pair is neither
            learned from nor counted.
    """

    pictures: Sequence[Picture]
    ids: Sequence[str]
    labels: Tensor


class Labelled(ABC):
    """A set of labelled pictures, in parts.

    Attributes:
        multi_label: Whether a picture may have several labels, or none.
        reads_files: Whether loading is worth worker processes.
        classes: Names of the K classes, as the data has them; known once it is open.
        listed: Pictures that the files name for the test, also those that are missing; 0 where there are no files.
        files: The annotation files that were read; see :data:`lightning_cr.benchmarks.annotations.Files`.
    """

    multi_label: bool = False
    reads_files: bool = True
    classes: Sequence[str] = ()
    listed: int = 0
    files: Files = {}  # noqa: RUF012 (never changed in place)

    @abstractmethod
    def open(self, root: Path | None, parts: Sequence[Part]) -> dict[Part, LabelledPart]:
        """Finds the pictures.

        Args:
            root: ``--data.root``.
            parts: What is wanted; ``val`` is left out where the set has none.

        Raises:
            ConfigError: The set has no such part.
            DataError: Something is missing or unreadable.
        """


def below(root: Path | None, folder: str, whose: str) -> Path:
    """A folder or file of the user's, relative to ``--data.root`` unless absolute.

    Raises:
        DataError: Neither is given.
    """
    path = Path(folder).expanduser()
    if root is None and not folder:
        raise DataError(f"{whose} has no pictures; set --data.root, or its init_args")
    return path if root is None else root / path


class LabelledArrays(Labelled):
    """Arrays given in Python.

    ::

        digits = load_digits()
        pixels = (digits.images * 15.9375).astype("uint8")
        LabelledArrays({"train": pixels[:1200], "test": pixels[1200:]}, {"train": ..., "test": ...}, "0 1 2".split())

    Args:
        images: By part, ``(N, H, W)`` or ``(N, H, W, 3)`` uint8.
        labels: By part, ``(N,)`` classes from 0, or ``(N, K)`` of 1, 0 and -1; see :class:`LabelledPart`.
        classes: Names of the K classes.

    Raises:
        ConfigError: Shapes or numbers that do not fit.
    """

    reads_files = False

    def __init__(self, images: Mapping[Part, Any], labels: Mapping[Part, Any], classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self._parts: dict[Part, LabelledPart] = {}
        for part, given in images.items():
            array, label = np.asarray(given), torch.as_tensor(np.asarray(labels[part]))
            if array.dtype != np.uint8 or array.ndim not in (3, 4) or array.shape[3:] not in ((), (3,)):
                raise ConfigError(
                    f"images of '{part}' are {array.dtype} of shape {array.shape}; allowed are uint8 of (N, H, W) or"
                    " (N, H, W, 3)"
                )
            self.multi_label = label.ndim == 2
            if len(label) != len(array) or (self.multi_label and label.shape[1] != len(self.classes)):
                raise ConfigError(
                    f"labels of '{part}' have shape {tuple(label.shape)}; {len(array)} images and {len(self.classes)}"
                    " classes want (N,) or (N, K)"
                )
            least, most = (-1, 1) if self.multi_label else (0, len(self.classes) - 1)
            if len(label) and not least <= int(label.min()) <= int(label.max()) <= most:
                raise ConfigError(
                    f"labels of '{part}' are {int(label.min())} to {int(label.max())}; allowed are {least} to {most}"
                )
            pictures = [ArrayPicture(one) for one in array]
            kind = torch.int8 if self.multi_label else torch.long
            self._parts[part] = LabelledPart(pictures, [str(i) for i in range(len(array))], label.to(kind))

    def open(self, root: Path | None, parts: Sequence[Part]) -> dict[Part, LabelledPart]:
        """See :class:`Labelled`."""
        for part in parts:
            if part not in self._parts and part != "val":
                raise ConfigError(f"LabelledArrays has no part '{part}'; it has {', '.join(self._parts) or 'none'}")
        return {part: self._parts[part] for part in parts if part in self._parts}
