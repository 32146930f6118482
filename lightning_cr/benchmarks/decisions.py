"""From decision values of pictures and classes to scores: top-1, top-5, mean per-class recall, average precision."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from lightning_cr.benchmarks.averages import Average, Interpolation, Mean, Precision
from lightning_cr.benchmarks.base import Benchmark, Embedded, Judged, Measurement, Picture, Pictures, Similarity
from lightning_cr.benchmarks.labelled import Labelled, Part
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import DataError

__all__ = ["Decisions", "Rows", "vectors"]

log = logging.getLogger(__name__)

_AT_ONCE = 1 << 24  # decision values held at once
_PRINTED = 25  # classes; of more only the averages are printed
_NAMED = 5  # classes that a warning names


class Rows(NamedTuple):
    """The pictures of a part.

    Attributes:
        picture: ``(N,)``, places in the benchmark's list.
        ids: Names.
        labels: See :class:`LabelledPart`.
    """

    picture: Tensor
    ids: Sequence[str]
    labels: Tensor


class Decisions(Benchmark):
    """What zero-shot classification and linear probes share.

    Of one label a picture the scores are ``NAME/top-1``, the share of pictures whose class has the highest decision
    value, and ``NAME/mean per-class recall``, the mean over classes of that share (``NAME/recall CLASS``). Of several
    labels they are ``NAME/AP CLASS``, see :class:`Precision`, and their mean ``NAME/mAP``. A class without pictures in
    the test is left out of the means, and told.

    Args:
        data: The labelled pictures.
        name: Of the scores.
        interpolation: Of average precision.
    """

    blind = ""
    parts: ClassVar[Sequence[Part]] = ("test",)

    def __init__(self, data: Labelled, name: str, interpolation: Interpolation) -> None:
        self.data, self.name, self.interpolation = data, name, interpolation
        self.headline = f"{name}/mAP" if data.multi_label else f"{name}/top-1"
        self.reads_files = data.reads_files

    def open(self, root: Path | None, preprocess: Preprocess, held_out: Pictures) -> None:
        """Finds the pictures.

        Raises:
            ConfigError: The data has no such part.
            DataError: Something is missing, or there is nothing to tell apart.
        """
        found = self.data.open(root, self.parts)
        self.missing = getattr(self.data, "missing", None)
        place: dict[Picture, int] = {}
        self.rows = {
            part: Rows(
                torch.tensor(
                    [place.setdefault(picture, len(place)) for picture in labelled.pictures], dtype=torch.long
                ),
                labelled.ids,
                labelled.labels,
            )
            for part, labelled in found.items()
        }
        self.pictures = list(place)
        for part, rows in self.rows.items():
            if not len(rows.picture):
                raise DataError(f"{self.name}: there are no pictures to {part} on; see init_args.data")
        if len(self.data.classes) < (1 if self.data.multi_label else 2):
            raise DataError(
                f"{self.name}: the data has {len(self.data.classes)} classes ({', '.join(self.data.classes)}); two or"
                " more can be told apart"
            )
        self.used = len(self.rows["test"].picture)
        self.listed = self.data.listed or self.used
        self.files = {path.name: about for path, about in self.data.files.items()}
        self.prints_subsets = len(self.data.classes) <= _PRINTED
        self._name_averages()

    def _name_averages(self) -> None:
        labels = self.rows["test"].labels
        if self.data.multi_label:
            self._subsets = [f"{self.name}/AP {name}" for name in self.data.classes]
            each = {name: Precision(name, self.interpolation) for name in self._subsets}
            self.averages: dict[str, Average] = {**each, f"{self.name}/mAP": Mean(tuple(each.values()), False)}
            there = (labels == 1).any(0)
        else:
            self._subsets = [f"{self.name}/recall {name}" for name in self.data.classes]
            self.averages = {
                f"{self.name}/top-1": tuple(self._subsets),
                f"{self.name}/mean per-class recall": Mean(tuple((name,) for name in self._subsets), False),
            }
            there = torch.bincount(labels, minlength=len(self._subsets)) > 0
        absent = [name for name, has in zip(self.data.classes, there.tolist(), strict=True) if not has]
        if absent:
            shown = ", ".join(absent[:_NAMED]) + (", ..." if len(absent) > _NAMED else "")
            log.warning(
                "%s: %d of %d classes have no picture in the test, and are left out of the mean over classes: %s",
                *(self.name, len(absent), len(self.data.classes), shown),
            )

    def shown(self, measurement: Measurement) -> list[str]:
        """All but the figures of the classes, where these are many."""
        hidden = () if self.prints_subsets else frozenset(self._subsets)
        return [name for name in measurement.scores if name not in hidden]

    def judged(self, rows: Rows, decide: Callable[[Tensor], Tensor], top_5: bool = False) -> Judged:
        """Says of each picture, or each picture and label, by how much it is decided right.

        Args:
            rows: The pictures.
            decide: Gives decision values ``(n, K)`` of some pictures by their places; NaN where one is unread.
            top_5: Whether the class may also be among five; for one label a picture and five classes or more.
        """
        if self.data.multi_label:
            return self._several(rows, decide(rows.picture))
        size = max(1, _AT_ONCE // len(self._subsets))
        first, fifth = [], []
        for picture, label in zip(torch.split(rows.picture, size), torch.split(rows.labels, size), strict=True):
            value = decide(picture)
            true = value.gather(1, label[:, None])[:, 0]
            false = value.scatter(1, label[:, None], -torch.inf).topk(min(5, value.shape[1]), dim=1).values
            first.append(true - false[:, 0])
            fifth.append(true - false[:, -1])  # of five classes the last is its own, infinitely below
        judged = Judged(self._subsets, rows.labels, torch.cat(first).float(), rows.picture, rows.ids)
        if not top_5 or len(self._subsets) < 5:
            return judged
        name = f"{self.name}/top-5"
        margin = torch.cat(fifth).float()
        return judged.with_(Judged([name], torch.zeros_like(rows.labels), margin, rows.picture, rows.ids))

    def _several(self, rows: Rows, value: Tensor) -> Judged:
        labels = rows.labels.T  # (K, N): class by class
        truth = labels == 1
        margin = torch.where(truth, value.T, -value.T).float()
        margin[labels < 0] = torch.nan
        classes, pictures = labels.shape
        return Judged(
            subsets=self._subsets,
            subset=torch.arange(classes).repeat_interleave(pictures),
            margin=margin.reshape(-1),
            cluster=rows.picture.repeat(classes),
            ids=[*rows.ids] * classes,
            truth=truth.reshape(-1),
        )


def vectors(similarity: Similarity, whose: str) -> tuple[Tensor, Tensor]:
    """The unit vectors ``(pictures, D)`` and ``(captions, D)``; NaN for a picture that could not be read.

    Raises:
        DataError: Some are infinite, or only in part a number.
    """
    if not isinstance(similarity, Embedded):
        raise TypeError(f"{whose} needs vectors, and {type(similarity).__name__} has none")
    for kind, found in (("picture", similarity.image), ("caption", similarity.text)):
        finite = found.isfinite()
        unread = found.isnan().all(1) if kind == "picture" else torch.zeros(len(found), dtype=torch.bool)
        broken = int((~finite.all(1) & ~unread).sum())
        if broken:
            raise DataError(
                f"{whose}: the vectors of {broken} of {len(found)} {kind}s are NaN or infinite; take another"
                " checkpoint, or --trainer.precision 32-true"
            )
    return similarity.image, similarity.text
