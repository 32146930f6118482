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

from lightning_cr.negatives.text.ngrams import PAIRS

__all__ = ["Flow", "balance_flows"]

_FEWEST = 4
"""A run that fewer edits have gets no factor: it would fit the captions that were learned from, and no others."""

_LEAST = 0.01
"""Logarithms of factors below this are forgotten; an edit has a dozen runs, so small ones add up."""

_STEPS = 4
"""Steps of the classifier for each of the edits."""

_RATE = 0.5
"""How far the factors move each round, in weights of the classifier."""

_PRIOR = 10.0
"""How strongly the classifier's weights are drawn to 0; the usual 1 lets it find what is chance."""

_MOST = 500.0
"""Logarithms of weights are kept within this, so that their exponentials are numbers."""


@dataclass(slots=True)
class Flow:
    """An edit of a caption, as far as its runs of words go; a run is a number (see :meth:`NGrams.runs`).

    Attributes:
        likelihood: Logarithm of how likely the edited caption is, over the caption.
        put_in: Runs that only the edited caption has; if words are added, all its single words too, since what can be
            added unnoticed depends on what the caption has already.
        taken_out: Runs that only the caption has.
        longer: How many words are added; 0 where words are replaced.
    """

    likelihood: float
    put_in: Sequence[int]
    taken_out: Sequence[int]
    longer: int = 0

    def weight(self, factors: Mapping[int, float]) -> float:
        """How much it is drawn beside others, and beside leaving the caption alone."""
        get = factors.get
        gain = sum([get(run, 0.0) for run in self.put_in]) - sum([get(run, 0.0) for run in self.taken_out])
        return math.exp(max(-_MOST, min(_MOST, self.likelihood + gain)))


def balance_flows(
    captions: Sequence[Sequence[int]],
    flows: Sequence[Sequence[Flow]],
    coverage: float,
    most: float = 0.9,
    rounds: int = 50,
) -> tuple[dict[int, float], float]:
    """Finds the factors, and the weight of no edit under which the wanted share of captions is edited.

    Edited captions are set against their originals; those to which words are added against the captions that are as
    long as they make it, so that the number of words does not count.

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
    every = [flow for found in flows for flow in found]
    if not every:
        return {}, 0.0
    of = np.repeat(np.arange(len(flows)), [len(found) for found in flows])
    game = _Game(captions, every, of)
    wanted = min(coverage * len(captions), most * len(np.unique(of)))
    moved, factors = np.zeros((2, len(game.runs)))
    late = rounds // 2
    for turn in range(rounds):
        chosen, _ = game.chosen(moved, wanted)
        moved = moved + _RATE * game.held_against(chosen)
        if turn >= late:  # both go round what they tend to, so the mean is closer to it
            factors += moved / (rounds - late)
    _, reluctance = game.chosen(factors, wanted)
    kept = np.abs(factors) >= _LEAST
    return dict(zip(game.runs[kept].tolist(), factors[kept].round(3).tolist(), strict=True)), reluctance


class _Game:
    """The edits, and the classifier that is to tell them from captions."""

    def __init__(self, captions: Sequence[Sequence[int]], every: list[Flow], of: np.ndarray) -> None:
        self.of, self.size = of, len(captions)
        self.likelihood = np.array([flow.likelihood for flow in every])
        put_in, taken_out = [flow.put_in for flow in every], [flow.taken_out for flow in every]
        seen, counts = np.unique(_joined([*put_in, *taken_out]), return_counts=True)
        self.runs = seen[counts >= _FEWEST]
        self.into, self.out = _Rows(put_in, self.runs), _Rows(taken_out, self.runs)
        self.source = _Rows([list(dict.fromkeys(found)) for found in captions], self.runs)
        self.longer = np.array([flow.longer for flow in every])
        self.adds = bool(self.longer.any())
        # Where words are added, those that stay count as put in.
        self.stays = (self.runs >= PAIRS).astype(float) if self.adds else np.ones(len(self.runs))
        self.lengths = np.array([sum(run < PAIRS for run in found) for found in captions])
        self.learner = _Learner(len(self.runs))

    def chosen(self, factors: np.ndarray, wanted: float) -> tuple[np.ndarray, float]:
        """The chance of each edit under some factors, and the weight of no edit."""
        gain = self.into.by_row(factors) - self.out.by_row(factors)
        weights = np.exp(np.clip(self.likelihood + gain, -_MOST, _MOST))
        total = np.bincount(self.of, weights, self.size)
        reluctance = _reluctance(total, wanted)
        return weights / (total + reluctance)[self.of], reluctance

    def held_against(self, chosen: np.ndarray) -> np.ndarray:
        """Lets the classifier learn for a while from edits with these chances; its weights, positive for captions."""
        if self.adds:
            true = _as_long(self.lengths, self.lengths[self.of] + self.longer, chosen)
        else:
            true = np.bincount(self.of, chosen, self.size)
        for _ in range(_STEPS):
            weights = self.learner.weights
            staying = self.source.by_row(weights * self.stays)
            of_caption = self.source.by_row(weights) if self.adds else staying
            of_edit = staying[self.of] + self.into.by_row(weights) - self.out.by_row(weights)
            missed, taken = true * _sigmoid(-of_caption), chosen * _sigmoid(of_edit)
            gradient = self.into.by_run(taken) - self.out.by_run(taken) - self.source.by_run(missed)
            gradient += self.stays * self.source.by_run(np.bincount(self.of, taken, self.size))
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
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -_MOST, _MOST))))


def _as_long(lengths: np.ndarray, made: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Weights of the captions under which their lengths are those of the edited ones."""
    size = int(max(lengths.max(), made.max())) + 1
    return np.asarray((np.bincount(made, chosen, size) / np.maximum(np.bincount(lengths, minlength=size), 1))[lengths])


def _reluctance(total: np.ndarray, wanted: float) -> float:
    """The weight of no edit under which so many captions are edited, by halving."""
    low, high = -_MOST, _MOST
    for _ in range(50):
        middle = (low + high) / 2
        more = float((total / (total + math.exp(middle))).sum()) > wanted
        low, high = (middle, high) if more else (low, middle)
    return math.exp(high)
