"""Named averages of examples, and their intervals by resampling pictures.

Papers print different averages of the same figures, and they differ by several points, so each is written out here as a
tree: a pool of subsets whose examples count alike, or the mean of smaller averages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Average", "Mean", "Tally", "bootstrapped"]

_CELLS_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Mean:
    """The plain mean of some averages, however many examples each has (macro).

    Attributes:
        of: The averages.
        complete: Whether it is withheld where one of them has no examples, since it would not be what its name says;
            else that one is left out.
    """

    of: tuple[Average, ...]
    complete: bool = True


Average = tuple[str, ...] | Mean
"""Subsets whose examples are pooled (micro), or the mean of averages (macro)."""


@dataclass(frozen=True)
class Tally:
    """Sums by picture and subset, from which every average follows.

    Attributes:
        right: ``(C, S)`` float64, sum of what counts right.
        count: ``(C, S)`` float64, examples.
        ties: ``(S,)`` int64.
    """

    right: Tensor
    count: Tensor
    ties: Tensor

    @classmethod
    def of(cls, right: Tensor, tied: Tensor, subset: Tensor, cluster: Tensor, subsets: int) -> Tally:
        """Counts examples; those whose ``right`` is NaN are left out."""
        kept = ~right.isnan()
        right, tied, subset, cluster = right[kept], tied[kept], subset[kept], cluster[kept]
        _, row = torch.unique(cluster, return_inverse=True)
        at = row * subsets + subset
        empty = torch.zeros((int(row.max()) + 1 if len(row) else 0) * subsets, dtype=torch.float64)
        return cls(
            right=empty.index_add(0, at, right).reshape(-1, subsets),
            count=empty.index_add(0, at, torch.ones_like(right)).reshape(-1, subsets),
            ties=torch.zeros(subsets, dtype=torch.long).index_add(0, subset, tied.long()),
        )

    def value(self, average: Average, place: Mapping[str, int]) -> tuple[float, int, int]:
        """An average, the examples in it, and the ties among these; NaN, 0 and 0 where it is withheld."""
        right, count = self.right.sum(0, keepdim=True), self.count.sum(0, keepdim=True)
        if not _is_there(average, place, count[0]):
            return math.nan, 0, 0
        used = [place[name] for name in _leaves(average) if name in place]
        return float(_average(average, place, right, count)), int(count[0, used].sum()), int(self.ties[used].sum())


def bootstrapped(
    tally: Tally, averages: Mapping[str, Average], place: Mapping[str, int], resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """The middle 95% of each average over resamples of the pictures, drawn with replacement.

    Rows share pictures (SugarCrepe has 7,511 on 1,560), so that resampling rows would claim too much.
    """
    clusters = len(tally.right)
    generator = torch.Generator().manual_seed(seed)
    drawn: dict[str, list[Tensor]] = {name: [] for name in averages}
    left = resamples
    while left:
        now = min(left, max(1, _CELLS_AT_ONCE // max(1, clusters)))
        picks = torch.randint(clusters, (now, clusters), generator=generator)
        times = torch.zeros(now, clusters, dtype=torch.float64).scatter_add_(
            1, picks, torch.ones(1, 1, dtype=torch.float64).expand(now, clusters)
        )
        right, count = times @ tally.right, times @ tally.count
        for name, average in averages.items():
            drawn[name].append(_average(average, place, right, count))
        left -= now
    bounds = torch.tensor([0.025, 0.975], dtype=torch.float64)
    return {name: tuple(torch.nanquantile(torch.cat(parts), bounds).tolist()) for name, parts in drawn.items()}


def _leaves(average: Average) -> list[str]:
    if isinstance(average, Mean):
        return [name for part in average.of for name in _leaves(part)]
    return list(average)


def _is_there(average: Average, place: Mapping[str, int], count: Tensor) -> bool:
    if isinstance(average, Mean):
        parts = [_is_there(part, place, count) for part in average.of]
        return any(parts) and (all(parts) or not average.complete)
    return any(bool(count[place[name]]) for name in average if name in place)


def _average(average: Average, place: Mapping[str, int], right: Tensor, count: Tensor) -> Tensor:
    """``(R,)`` of sums ``(R, S)``; NaN where there are no examples."""
    if isinstance(average, Mean):
        # Of a resample any part may be empty by chance.
        return torch.stack([_average(part, place, right, count) for part in average.of]).nanmean(0)
    columns = [place[name] for name in average if name in place]
    return right[:, columns].sum(1) / count[:, columns].sum(1)
