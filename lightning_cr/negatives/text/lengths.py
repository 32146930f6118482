"""Balances additions: what is added, and to which captions, so that the results are made of what others as long are.

An addition takes nothing out, so that there is no word whose place it could fill (see
:mod:`lightning_cr.negatives.text.flows` for edits that do). What can be chosen instead is where to add: to captions
that are poor in what comes ("a man on a bench" can take a colour, "a man in a blue shirt on a red bench" has enough).
Each run of up to three words gets a factor, and each length what its captions weigh on average under these factors, so
that lengths at which captions are rich enough are preferred. Ours.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lightning_cr.negatives.text.flows import Pairs, Run, find_reluctance, runs

__all__ = ["Growth", "LengthBalance"]

_FEWEST = 10
"""A run that fewer additions and captions have gets no factor: it would fit the sample that was learned from alone."""

_LEAST = 0.01
_PRIOR = 3.0
"""Captions that are added to both sides of a run's ratio, so that rare ones are not chased."""

_CAPTIONS = 40
"""A length that fewer captions have is taken together with the longest that has as many."""

_ROUNDS = 150
_RATE = 0.15


@dataclass(slots=True)
class Growth:
    """An addition, as far as its runs of words go.

    Attributes:
        likelihood: Logarithm of how likely the longer caption is, over the caption, and over the chance with which the
            addition was offered.
        put_in: Runs that only the longer caption has.
        taken_out: Runs that only the caption has.
        length: Words of the longer caption.
    """

    likelihood: float
    put_in: list[Run]
    taken_out: list[Run]
    length: int


@dataclass
class LengthBalance:
    """What was learned.

    Attributes:
        factors: Logarithms of the factors of runs.
        averages: By length, the mean sum of these over captions; the last is of all longer ones.
        reluctance: Weight of no addition.
    """

    factors: dict[Run, float] = field(default_factory=dict)
    averages: list[float] = field(default_factory=lambda: [0.0])
    reluctance: float = 0.0

    def weights(self, words: Sequence[str], growths: Sequence[Growth]) -> list[float]:
        """How much each addition to a caption is drawn beside the others, and beside none."""
        get, averages = self.factors.get, self.averages
        own = sum([get(run, 0.0) for run in runs(words)])
        last = len(averages) - 1
        found = []
        for growth in growths:
            gain = (
                own + sum([get(run, 0.0) for run in growth.put_in]) - sum([get(run, 0.0) for run in growth.taken_out])
            )
            gain += growth.likelihood - averages[min(growth.length, last)]
            found.append(math.exp(max(-600.0, min(20.0, gain))))
        return found

    @classmethod
    def learn(
        cls, captions: Sequence[Sequence[str]], growths: Sequence[Sequence[Growth]], coverage: float
    ) -> LengthBalance:
        """Finds the factors, and the reluctance under which the wanted share of captions is added to.

        Args:
            captions: The words of each.
            growths: What could be added to it.
            coverage: Share of captions to add to; at most nine tenths of those where something can be.
        """
        of = np.array([at for at, found in enumerate(growths) for _ in found], dtype=np.int64)
        every = [growth for found in growths for growth in found]
        if not every:
            return cls()
        own = [runs(words) for words in captions]
        seen = Counter(run for growth in every for run in growth.put_in)
        in_captions = Counter(run for found in own for run in found)
        frequent_runs = (run for counts in (in_captions, seen) for run, count in counts.items() if count >= _FEWEST)
        ids = {run: number for number, run in enumerate(dict.fromkeys(frequent_runs))}
        size, number = len(ids), len(captions)
        base = Pairs(([run for run in found if run in ids] for found in own), ids)
        into = Pairs(([run for run in growth.put_in if run in ids] for growth in every), ids)
        out = Pairs(([run for run in growth.taken_out if run in ids] for growth in every), ids)
        lengths = np.array([len(words) for words in captions])
        frequent = np.flatnonzero(np.bincount(lengths) >= min(_CAPTIONS, number // 4))
        last = int(frequent.max())
        lengths = np.minimum(lengths, last)
        made = np.minimum([growth.length for growth in every], last)
        there = np.maximum(np.bincount(lengths, minlength=last + 1), 1)
        likelihood = np.array([growth.likelihood for growth in every])
        share = min(coverage, 0.9 * len(np.unique(of)) / number)
        factors = np.zeros(size)
        for turn in range(_ROUNDS + 1):
            of_captions = base.sum_by_item(factors, number)
            averages = np.bincount(lengths, of_captions, last + 1) / there
            gain = of_captions[of] + into.sum_by_item(factors, len(every)) - out.sum_by_item(factors, len(every))
            weights = np.exp(np.clip(likelihood + gain - averages[made], -600, 20))
            total = np.bincount(of, weights, number)
            reluctance = find_reluctance(total, share * number)
            chosen = weights / (total + reluctance)[of]
            if turn == _ROUNDS:
                break
            as_long = (np.bincount(made, chosen, last + 1) / there)[lengths]
            wanted = base.sum_by_run(as_long, size)
            comes = base.sum_by_run(np.bincount(of, chosen, number), size) + into.sum_by_run(chosen, size)
            comes -= out.sum_by_run(chosen, size)
            factors += _RATE * np.log((wanted + _PRIOR) / (np.maximum(comes, 0) + _PRIOR))
        kept = {run: round(f, 3) for run, f in zip(ids, factors.tolist(), strict=True) if abs(f) >= _LEAST}
        return cls(kept, averages.tolist(), reluctance)
