"""Balances what edits put into a corpus's captions with what they take out, run of words by run of words.

A classifier that sees runs of up to three words finds a negative by those that negatives have more often than captions
("on a man"). Each run gets a factor that makes edits with it rarer or more frequent, until as many come as go. Ours;
the nearest published remedy is SugarCrepe's filter of its test items (2306.14610, section 4), which leaves items out.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = ["Flow", "Pairs", "Run", "balance_flows", "find_reluctance", "runs"]

Run = tuple[str, ...]
"""One to three words that follow each other, with ``^`` and ``$`` for the ends of the caption."""

_FEWEST = 10
"""A run that fewer edits have gets no factor: it would fit the captions that were learned from, and no others."""

_LEAST = 0.01
"""Logarithms of factors below this are forgotten; an edit has a dozen runs, so small ones add up."""


@dataclass(slots=True)
class Flow:
    """An edit of a caption, as far as its runs of words go.

    Attributes:
        likelihood: Logarithm of how likely the edited caption is, over the caption.
        put_in: Runs that only the edited caption has.
        taken_out: Runs that only the caption has.
    """

    likelihood: float
    put_in: list[Run]
    taken_out: list[Run]

    def weight(self, factors: Mapping[Run, float]) -> float:
        """How much it is drawn beside others, and beside leaving the caption alone."""
        get = factors.get
        gain = sum([get(run, 0.0) for run in self.put_in]) - sum([get(run, 0.0) for run in self.taken_out])
        return math.exp(max(-600.0, min(20.0, self.likelihood + gain)))


def runs(words: Sequence[str]) -> dict[Run, None]:
    """The runs of a caption, in order, each once."""
    padded = ("^", *words, "$")
    found: dict[Run, None] = dict.fromkeys((word,) for word in words)
    found.update(dict.fromkeys(pairwise(padded)))
    found.update(dict.fromkeys(zip(padded, padded[1:], padded[2:], strict=False)))
    return found


def balance_flows(
    flows: Sequence[Sequence[Flow]],
    coverage: float,
    rounds: int = 40,
    rate: float = 0.06,
) -> tuple[dict[Run, float], float]:
    """Finds the factors, and the weight of no edit under which the wanted share of captions is edited.

    Args:
        flows: The edits of each caption.
        coverage: Share of captions to edit; at most nine tenths of those that can be.
        rounds: How often the flows are measured.
        rate: Step size.

    Returns:
        Logarithms of the factors, and the weight of no edit.
    """
    ids: dict[Run, int] = {}
    of = np.array([at for at, found in enumerate(flows) for _ in found], dtype=np.int64)
    every = [flow for found in flows for flow in found]
    if not every:
        return {}, 0.0
    seen = Counter(run for flow in every for run in (*flow.put_in, *flow.taken_out))
    into = Pairs(([run for run in flow.put_in if seen[run] >= _FEWEST] for flow in every), ids)
    out = Pairs(([run for run in flow.taken_out if seen[run] >= _FEWEST] for flow in every), ids)
    likelihood = np.array([flow.likelihood for flow in every])
    share = min(coverage, 0.9 * len(np.unique(of)) / len(flows))
    factors = np.zeros(len(ids))
    for turn in range(rounds + 1):
        gain = into.sum_by_item(factors, len(every)) - out.sum_by_item(factors, len(every))
        weights = np.exp(np.clip(likelihood + gain, -600, 20))
        total = np.bincount(of, weights, len(flows))
        reluctance = find_reluctance(total, share * len(flows))
        chosen = weights / (total + reluctance)[of]
        if turn < rounds:
            wanted = out.sum_by_run(chosen, len(ids))
            factors += rate * np.log((wanted + 1) / (into.sum_by_run(chosen, len(ids)) + 1))
    return {run: round(f, 3) for run, f in zip(ids, factors.tolist(), strict=True) if abs(f) >= _LEAST}, reluctance


class Pairs:
    """Which item has which run.

    Args:
        items: The runs of each.
        ids: Numbers of the runs; new ones are given the next.
    """

    def __init__(self, items: Iterable[Iterable[Run]], ids: dict[Run, int]) -> None:
        at_items, at_runs = array("q"), array("q")
        for at, found in enumerate(items):
            for run in found:
                at_items.append(at)
                at_runs.append(ids.setdefault(run, len(ids)))
        self.items, self.runs = np.array(at_items), np.array(at_runs)

    def sum_by_item(self, of_runs: np.ndarray, count: int) -> np.ndarray:
        """Adds up numbers of runs for each of so many items."""
        return np.bincount(self.items, of_runs[self.runs], count)

    def sum_by_run(self, of_items: np.ndarray, count: int) -> np.ndarray:
        """Adds up numbers of items for each of so many runs."""
        return np.bincount(self.runs, of_items[self.items], count)


def find_reluctance(total: np.ndarray, wanted: float) -> float:
    """The weight of no edit under which so many captions are edited, by halving.

    Args:
        total: Of each caption, the weight of all its edits.
        wanted: How many captions to edit.
    """
    low, high = -650.0, 25.0
    for _ in range(40):
        middle = (low + high) / 2
        more = float((total / (total + math.exp(middle))).sum()) > wanted
        low, high = (middle, high) if more else (low, middle)
    return math.exp(high)
