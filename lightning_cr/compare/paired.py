"""Differences between measurements, example by example: what differs by luck of the examples cancels out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_cr.benchmarks.averages import Average, Tally, bootstrapped
from lightning_cr.benchmarks.base import Judged
from lightning_cr.benchmarks.records import Recorded
from lightning_cr.errors import DataError

__all__ = ["Difference", "Flip", "differences"]


@dataclass(frozen=True)
class Difference:
    """One score of two measurements, on the examples that both have.

    Attributes:
        name: Of the score.
        first: Of the one, in 0..1.
        second: Of the other.
        low: Lower end of the 95% interval of ``second - first``, over resamples of the pictures.
        high: Upper end.
        n: Examples.
        gained: Examples of a subset that the second has right and the first wrong; None for an average.
        lost: The reverse.
    """

    name: str
    first: float
    second: float
    low: float
    high: float
    n: int
    gained: int | None = None
    lost: int | None = None


@dataclass(frozen=True)
class Flip:
    """An example of which the two say different things.

    Attributes:
        subset: Its part.
        id: Its name there.
        gained: Whether it counts more in the second.
        first: Margin of the one.
        second: Margin of the other.
    """

    subset: str
    id: str
    gained: bool
    first: float
    second: float


def differences(
    first: Recorded, second: Recorded, benchmark: str, resamples: int, seed: int
) -> tuple[list[Difference], list[Flip], int]:
    """Compares two measurements of a benchmark.

    Returns:
        The subsets and the averages; the examples that flipped, those that changed most first; and how many examples
        only one of the two has.

    Raises:
        DataError: They have no example in common.
    """
    (one, right_one), (other, right_other) = first.of(benchmark), second.of(benchmark)
    keys_one, keys_other = (
        {
            (judged.subsets[subset], name, at, truth): row
            for row, ((subset, name, at), truth) in enumerate(zip(_numbered(judged), _truth(judged), strict=True))
        }
        for judged in (one, other)
    )
    common = [key for key in keys_one if key in keys_other]
    if not common:
        raise DataError(
            f"{first.path} and {second.path} have no example of {benchmark} in common; were they measured on the same"
            " files?"
        )
    rows_one = torch.tensor([keys_one[key] for key in common])
    rows_other = torch.tensor([keys_other[key] for key in common])
    a, b = right_one[rows_one], right_other[rows_other]
    subset, cluster = one.subset[rows_one], one.cluster[rows_one]
    counted = ~(a.isnan() | b.isnan())
    place = {name: at for at, name in enumerate(one.subsets)}
    averages: dict[str, Average] = {name: (name,) for name in one.subsets}
    averages |= first.averages(benchmark)
    never = torch.zeros_like(counted)
    tallies = [
        Tally.of(
            *(torch.where(counted, right, torch.nan), never, subset, cluster),
            *(len(place), value, _at(one.truth, rows_one)),
        )
        for right, value in ((a, _at(one.value, rows_one)), (b, _at(other.value, rows_other)))
    ]
    values = [tally.values(averages, place) for tally in tallies]
    there = {name: average for name, average in averages.items() if values[0][name][1]}
    intervals = bootstrapped(tallies[1], there, place, resamples, seed, less=tallies[0])
    found = []
    for name in there:
        value_a, n, _ = values[0][name]
        here = counted & (subset == place[name]) if name in place else None
        gained, lost = (None, None) if here is None else (int(((b > a) & here).sum()), int(((b < a) & here).sum()))
        found.append(Difference(name, value_a, values[1][name][0], *intervals[name], n, gained, lost))
    margin_a, margin_b = one.margin[rows_one], other.margin[rows_other]
    flipped: list[int] = ((a != b) & counted).nonzero()[:, 0].tolist()
    flipped.sort(key=lambda at: -abs(float(margin_b[at] - margin_a[at])))
    flips = [Flip(*common[at][:2], bool(b[at] > a[at]), float(margin_a[at]), float(margin_b[at])) for at in flipped]
    return found, flips, len(keys_one) + len(keys_other) - 2 * len(common)


def _at(values: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if values is None else values[rows]


def _truth(judged: Judged) -> list[bool | None]:
    """Whether the picture of each example has the label; an example that is labelled otherwise is another one."""
    return [None] * len(judged.ids) if judged.truth is None else judged.truth.tolist()


def _numbered(judged: Judged) -> list[tuple[int, str, int]]:
    """Subset, id, and the how-manieth of that id it is there, should a file have one twice."""
    seen: dict[tuple[int, str], int] = {}
    result = []
    for subset, name in zip(judged.subset.tolist(), judged.ids, strict=True):
        at = seen.get((subset, name), 0)
        seen[subset, name] = at + 1
        result.append((subset, name, at))
    return result
