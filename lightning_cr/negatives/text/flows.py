"""Weighs edits so that what they make of a corpus's captions cannot be told from the captions.

A classifier that sees runs of up to three words finds a negative by those that negatives have more often than captions
("on a man"). So one is trained here, a logistic regression, and while it learns the edits are weighed against it: each
run gets a factor that makes edits with it rarer the more the classifier holds it against negatives, until it finds
nothing, or nothing that the edits could avoid. Ours; adversarial filtering (1808.05326, SWAG) and SugarCrepe's
filter (2306.14610, section 4) leave out finished items in the same spirit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

__all__ = ["MOST", "Flow", "Game", "balance_flows", "weigh"]

_LEAST = 0.01
"""Logarithms of factors below this are forgotten; an edit has a dozen runs, so small ones add up."""

_STEPS = 4
"""Steps of the classifier for each of the edits."""

_PRIOR = 10.0
"""How strongly the classifier's weights are drawn to 0; the usual 1 lets it find what is chance."""

MOST = 500.0
"""Logarithms of weights are kept within this, so that their exponentials are numbers."""


@dataclass(slots=True)
class Flow:
    """An edit of a caption, as far as its runs of words go; a run is a number (see :meth:`NGrams.runs`).

    Attributes:
        likelihood: Logarithm of how likely the edited caption is, over the caption.
        put_in: Runs that only the edited caption has.
        taken_out: Runs that only the caption has.
    """

    likelihood: float
    put_in: Sequence[int]
    taken_out: Sequence[int]


def weigh(flows: Sequence[Flow], factors: Mapping[int, float]) -> list[float]:
    """How much each edit of a caption is drawn beside the others, and beside leaving the caption alone."""
    get = factors.get
    known: dict[int, float] = {}  # the edits of a place have one and the same list of what they take out
    weights = []
    for flow in flows:
        lost = known.get(id(flow.taken_out))
        if lost is None:
            lost = known[id(flow.taken_out)] = sum([get(run, 0.0) for run in flow.taken_out])
        gain = sum([get(run, 0.0) for run in flow.put_in]) - lost
        weights.append(math.exp(max(-MOST, min(MOST, flow.likelihood + gain))))
    return weights


def balance_flows(
    captions: Sequence[Sequence[int]],
    flows: Sequence[Sequence[Flow]],
    coverage: float,
    most: float = 0.9,
    rounds: int = 50,
) -> tuple[dict[int, float], float]:
    """Finds the factors, and the weight of no edit under which the wanted share of captions is edited.

    Edited captions are set against their originals.

    Args:
        captions: The runs of each.
        flows: Its edits.
        coverage: Share of captions to edit.
        most: Share of those that can be edited, above which none is: some have nothing but edits that give themselves
            away.
        rounds: How often the classifier and the edits answer each other.

    Returns:
        Logarithms of the factors, and the weight of no edit.
    """
    return Game(captions, flows).play(coverage, most, rounds)


class Game:
    """The edits, and the classifier that is to tell them from captions.

    Args:
        captions: The runs of each caption.
        flows: Its edits.

    Attributes:
        whole: Whether all runs of a caption count for its edits, and not only those that change.
        fewest: A run that fewer edits (and captions, if whole) have gets no factor: it would fit the captions that were
            learned from, and no others.
        rate: How far the factors move each round, in weights of the classifier.
    """

    whole = False
    fewest = 4
    rate = 0.5

    def __init__(self, captions: Sequence[Sequence[int]], flows: Sequence[Sequence[Flow]]) -> None:
        every = [flow for found in flows for flow in found]
        self.of, self.size = np.repeat(np.arange(len(flows)), [len(found) for found in flows]), len(captions)
        self.likelihood = np.array([flow.likelihood for flow in every])
        put_in, taken_out = [flow.put_in for flow in every], [flow.taken_out for flow in every]
        seen, counts = np.unique(_joined([*put_in, *taken_out, *(captions if self.whole else ())]), return_counts=True)
        self.runs = seen[counts >= self.fewest]
        self.into, self.out = _Rows(put_in, self.runs), _Rows(taken_out, self.runs)
        self.source = _Rows([list(dict.fromkeys(found)) for found in captions], self.runs)
        self.learner = _Learner(len(self.runs))

    def play(self, coverage: float, most: float, rounds: int) -> tuple[dict[int, float], float]:
        """Finds the factors, and the weight of no edit; see :func:`balance_flows`."""
        if not len(self.of):
            return {}, math.exp(MOST)  # nothing is drawn of what was never weighed
        wanted = min(coverage * self.size, most * len(np.unique(self.of)))
        moved, factors = np.zeros((2, len(self.runs)))
        late = rounds // 2
        for turn in range(rounds):
            chosen, _ = self.chosen(moved, wanted)
            moved = moved + self.rate * self.held_against(chosen)
            if turn >= late:  # both go round what they tend to, so the mean is closer to it
                factors += moved / (rounds - late)
        _, reluctance = self.chosen(factors, wanted)
        kept = np.abs(factors) >= _LEAST
        return dict(zip(self.runs[kept].tolist(), factors[kept].round(3).tolist(), strict=True)), reluctance

    def chosen(self, factors: np.ndarray, wanted: float) -> tuple[np.ndarray, float]:
        """The chance of each edit under some factors, and the weight of no edit."""
        weights = np.exp(np.clip(self.likelihood + self.gains(factors), -MOST, MOST))
        total = np.bincount(self.of, weights, self.size)
        reluctance = _reluctance(total, wanted)
        return weights / (total + reluctance)[self.of], reluctance

    def gains(self, factors: np.ndarray) -> np.ndarray:
        """What the factors of its runs add to the logarithm of each edit's weight."""
        return np.asarray(self.into.by_row(factors) - self.out.by_row(factors))

    def set_against(self, chosen: np.ndarray) -> np.ndarray:
        """How much each caption counts beside edits with these chances: as much as its own."""
        return np.bincount(self.of, chosen, self.size)

    def held_against(self, chosen: np.ndarray) -> np.ndarray:
        """Lets the classifier learn for a while from edits with these chances; its weights, positive for captions."""
        true = self.set_against(chosen)
        for _ in range(_STEPS):
            weights = self.learner.weights
            of_caption = self.source.by_row(weights)
            of_edit = of_caption[self.of] + self.into.by_row(weights) - self.out.by_row(weights)
            missed, taken = true * _sigmoid(-of_caption), chosen * _sigmoid(of_edit)
            gradient = self.into.by_run(taken) - self.out.by_run(taken)
            gradient += self.source.by_run(np.bincount(self.of, taken, self.size) - missed)
            self.learner.step(gradient + _PRIOR * weights)
        return self.learner.weights


class _Learner:
    """Adam (1412.6980), which finds the weights of rare runs as fast as those of frequent ones."""

    def __init__(self, size: int, rate: float = 0.02) -> None:
        self.weights, self.rate = np.zeros(size), rate
        self._mean, self._square, self._steps = np.zeros(size), np.zeros(size), 0

    def step(self, gradient: np.ndarray) -> None:
        self._steps += 1
        self._mean += 0.1 * (gradient - self._mean)
        self._square += 0.01 * (gradient**2 - self._square)
        mean, square = self._mean / (1 - 0.9**self._steps), self._square / (1 - 0.99**self._steps)
        self.weights = self.weights - self.rate * mean / (np.sqrt(square) + 1e-6)


class _Rows:
    """Which row, of captions or edits, has which of the runs that count."""

    def __init__(self, rows: Sequence[Sequence[int]], runs: np.ndarray) -> None:
        self.size, self.width = len(rows), len(runs)
        every = _joined(rows)
        at = np.minimum(np.searchsorted(runs, every), max(0, self.width - 1))
        known = runs[at] == every if self.width else np.zeros(len(every), dtype=bool)
        self.rows, self.columns = np.repeat(np.arange(len(rows)), [len(row) for row in rows])[known], at[known]

    def by_row(self, of_runs: np.ndarray) -> np.ndarray:
        return np.bincount(self.rows, of_runs[self.columns], self.size).astype(float, copy=False)

    def by_run(self, of_rows: np.ndarray) -> np.ndarray:
        return np.bincount(self.columns, of_rows[self.rows], self.width).astype(float, copy=False)


def _joined(rows: Sequence[Sequence[int]]) -> np.ndarray:
    # Triples have the highest of 64 bits.
    return np.fromiter(chain.from_iterable(rows), dtype=np.uint64, count=sum(map(len, rows)))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -MOST, MOST))))


def _reluctance(total: np.ndarray, wanted: float) -> float:
    """The weight of no edit under which so many captions are edited, by halving."""
    low, high = -MOST, MOST
    for _ in range(50):
        middle = (low + high) / 2
        more = float((total / (total + math.exp(middle))).sum()) > wanted
        low, high = (middle, high) if more else (low, middle)
    return math.exp(high)
