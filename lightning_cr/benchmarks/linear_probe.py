"""Linear probes: what a linear classifier finds in the frozen vectors of pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_cr.benchmarks.averages import Interpolation
from lightning_cr.benchmarks.base import Judged, Pictures, Similarity
from lightning_cr.benchmarks.decisions import Decisions, Rows, vectors
from lightning_cr.benchmarks.labelled import Labelled
from lightning_cr.benchmarks.logistic import TOLERANCE, Logistic, Scaling, fit
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError

__all__ = ["LinearProbe"]

log = logging.getLogger(__name__)

_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_OF_UNIT_VECTORS = 1000  # a number of a unit vector of 512 varies by 1/sqrt(512) or less, so that C is larger


class LinearProbe(Decisions):
    """A linear probe of the image tower.

    Features are what :class:`Encoder` gives: projected, of length 1, frozen (the CLIP paper took those before the
    projection, so its figures are higher). One label a picture: multinomial logistic regression; several: one against
    the rest for each. It is solved by L-BFGS in float64, with the objective of scikit-learn's ``LogisticRegression``:
    ``C sum_i loss_i + |w|^2 / 2``. C is chosen by top-1, or mAP, on the part ``val``, or on a seeded part of ``train``
    where the data has none (of one label a picture, the same share of each class), for all classes alike; the smallest
    of equally good ones is taken. Then it is fitted once more, on ``train`` and ``val``. What was chosen is written
    beside the scores. Scores are those of :class:`Decisions` on the part ``test``; decision values are logits. The
    intervals are over the pictures of the test alone.

    Args:
        data: The labelled pictures.
        name: Of the scores.
        strengths: The values of C to choose from; one is taken as it is. Unless given 1e-5, 1e-4, ... 10 with
            ``standardise`` and 0.01, 0.1, ... 10,000 without.
        standardise: Whether each feature is centred and divided by its standard deviation over what is fitted, as CLIP
            did not do; without it the regression is that of the unit vectors.
        share: Of ``train``, held back to choose C by.
        seed: Of that part.
        max_steps: Of L-BFGS for one value of C.
        interpolation: Of average precision, for several labels.

    Raises:
        ConfigError: A number out of range.
    """

    parts = ("train", "val", "test")

    def __init__(
        self,
        data: Labelled,
        name: str = "probe",
        strengths: list[float] | None = None,
        standardise: bool = True,
        share: float = 0.2,
        seed: int = 0,
        max_steps: int = 1000,
        interpolation: Interpolation = "none",
    ) -> None:
        super().__init__(data, name, interpolation)
        scale = 1 if standardise else _OF_UNIT_VECTORS
        self.strengths = sorted(strengths if strengths is not None else (scale * c for c in _STRENGTHS))
        if not self.strengths or not all(0 < c < float("inf") for c in self.strengths):
            raise ConfigError(f"strengths of {name} are {strengths}; each C must be above 0, such as [0.01, 1.0]")
        if not 0 < share < 1 or max_steps < 1:
            raise ConfigError(
                f"{name} has share {share} and max_steps {max_steps}; allowed are above 0 and below 1, and 1 or more"
            )
        self.standardise, self.share, self.seed, self.max_steps = standardise, share, seed, max_steps

    def open(self, root: Path | None, preprocess: Preprocess, held_out: Pictures) -> None:
        """See :class:`Decisions`; tells of pictures of the test that are learned from."""
        super().open(root, preprocess, held_out)
        learned = {place for part in self.rows if part != "test" for place in self.rows[part].picture.tolist()}
        both = sum(place in learned for place in self.rows["test"].picture.tolist())
        if both:
            log.warning(
                "%s: %d of the %d pictures of the test are among those to learn from, too: the scores are too high",
                *(self.name, both, self.used),
            )

    def judge(self, similarity: Similarity) -> Judged:
        """Fits, then decides on the test.

        Raises:
            DataError: Vectors are no numbers, or what can be read has nothing to tell apart.
        """
        image, _ = vectors(similarity, self.name)
        read = ~image.isnan().any(1)
        parts = [_some(self.rows[part], read[self.rows[part].picture]) for part in self.parts if part in self.rows]
        whole = _joined(parts[:-1])
        self._check(whole)
        strength, tried = self.strengths[0], {}
        if len(self.strengths) > 1:
            train, val = parts[:2] if len(parts) == 3 else self._divided(whole)
            tried = self._tried(image, train, val)
            strength = max(tried, key=lambda c: (tried[c], -c))
        scaling, model = self._fitted(image, whole, strength)
        self._warn(model, strength)
        self.chosen = {
            "C": strength,
            "on validation": {f"{c:g}": value for c, value in tried.items()},
            "pictures fitted": len(whole.picture),
            "steps": model.steps,
            "gradient": model.gradient,
            "converged": model.converged,
        }
        return self.judged(self.rows["test"], _deciding(image, scaling, model))

    def _tried(self, image: Tensor, train: Rows, val: Rows) -> dict[float, float]:
        """The headline of each C on the validation part; from strong to weak, each starts where the last one ended."""
        tried = {}
        model = None
        for strength in self.strengths:
            scaling, model = self._fitted(image, train, strength, model)
            scores = self.score(self.judged(val, _deciding(image, scaling, model)))
            if self.headline not in scores:
                raise DataError(
                    f"{self.name}: the {len(val.picture)} pictures to choose C by have none of the labels; give"
                    " init_args.strengths one value, or a part val with labels"
                )
            tried[strength] = scores[self.headline].value
            self._warn(model, strength)
        return tried

    def _fitted(
        self, image: Tensor, rows: Rows, strength: float, start: Logistic | None = None
    ) -> tuple[Scaling, Logistic]:
        features = image[rows.picture].double()
        scaling = Scaling(features, self.standardise)
        penalty = strength * scaling.factor
        features.sub_(scaling.mean).div_(scaling.scale)  # in place: they may be gigabytes
        return scaling, fit(features, rows.labels, len(self.data.classes), penalty, self.max_steps, start)

    def _warn(self, model: Logistic, strength: float) -> None:
        if not model.converged:
            log.warning(
                "%s: L-BFGS has not converged at C %g: after %d steps the gradient is %.1e, above %.0e; raise"
                " init_args.max_steps",
                *(self.name, strength, model.steps, model.gradient, TOLERANCE),
            )

    def _check(self, rows: Rows) -> None:
        """That all that the test asks for can be learned."""
        test, names = self.rows["test"].labels, self.data.classes
        if self.data.multi_label:
            learned = (rows.labels == 1).any(0) & (rows.labels == 0).any(0)
            asked = (test == 1).any(0)
            why = "are on no picture, or on all"
        else:
            learned = torch.bincount(rows.labels, minlength=len(names)) > 0
            asked = torch.bincount(test, minlength=len(names)) > 0
            why = "have no picture"
            if int(learned.sum()) < 2:
                raise DataError(
                    f"{self.name}: the {len(rows.picture)} pictures to learn from are of {int(learned.sum())} class;"
                    " two or more can be told apart"
                )
        lacking = [name for name, gone in zip(names, (asked & ~learned).tolist(), strict=True) if gone]
        if lacking:
            raise DataError(
                f"{self.name}: {len(lacking)} classes of the test {why} to learn from: {', '.join(lacking[:5])}; add"
                " some, or take these classes out of the test"
            )

    def _divided(self, rows: Rows) -> tuple[Rows, Rows]:
        """A seeded part of what is to be learned from, held back; a class of one picture stays."""
        order = torch.randperm(len(rows.picture), generator=torch.Generator().manual_seed(self.seed))
        held = torch.zeros(len(order), dtype=torch.bool)
        for group in (
            [order] if self.data.multi_label else [order[rows.labels[order] == c] for c in torch.unique(rows.labels)]
        ):
            held[group[: int(self.share * len(group))]] = True
        if not held.any() or held.all():
            raise DataError(
                f"{self.name}: of {len(held)} pictures none can be held back to choose C by (share {self.share}); give"
                " init_args.strengths one value, or a part val"
            )
        return _some(rows, ~held), _some(rows, held)


def _deciding(image: Tensor, scaling: Scaling, model: Logistic) -> Callable[[Tensor], Tensor]:
    return lambda places: model(scaling(image[places]))


def _some(rows: Rows, kept: Tensor) -> Rows:
    ids = [name for name, here in zip(rows.ids, kept.tolist(), strict=True) if here]
    return Rows(rows.picture[kept], ids, rows.labels[kept])


def _joined(parts: list[Rows]) -> Rows:
    columns: Any = zip(*parts, strict=True)
    picture, ids, labels = columns
    return Rows(torch.cat(picture), [name for part in ids for name in part], torch.cat(labels))
