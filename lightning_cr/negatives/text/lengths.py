"""Weighs additions so that the results cannot be told from the captions that are as long.

An addition takes nothing out, so that there is no word whose place it could fill (see
:mod:`lightning_cr.negatives.text.flows` for edits that do). What can be chosen instead is where to add: to captions
that are poor in what comes ("a man on a bench" can take a colour, "a man in a blue shirt on a red bench" has enough).
So what weighs is all that the longer caption is made of, against what captions of its length weigh on average, and the
classifier is shown captions that are as long: the number of words itself is no mistake. Ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lightning_cr.negatives.text.flows import MOST, Flow, Game
from lightning_cr.negatives.text.ngrams import PAIRS, NGrams

__all__ = ["Growth", "LengthBalance"]

_CAPTIONS = 40
"""A length that fewer captions have is taken together with the longest that has as many."""

_REMEMBERED = 200_000


@dataclass(slots=True)
class Growth(Flow):
    """An addition, as far as its runs of words go; what is likely is over the chance with which it was offered, too.

    Attributes:
        length: Words of the longer caption.
    """

    length: int


@dataclass
class LengthBalance:
    """What was learned.

    Attributes:
        factors: Logarithms of the factors of runs.
        averages: By length, the mean sum of these over captions; the last is of all longer ones.
        reluctance: Weight of no addition.
    """

    factors: dict[int, float] = field(default_factory=dict)
    averages: list[float] = field(default_factory=lambda: [0.0])
    reluctance: float = 0.0
    _steps: dict[int, float] = field(default_factory=dict, init=False, repr=False)

    def weights(
        self, words: list[int], additions: Iterable[tuple[int, list[int], float]], ngrams: NGrams
    ) -> list[float]:
        """How much each addition to a caption is drawn beside the others, and beside none.

        Args:
            words: The caption in numbers.
            additions: Place, words, and the logarithm of the chance with which they were offered.
            ngrams: The corpus.
        """
        get, averages = self.factors.get, self.averages
        own = sum([get(run, 0.0) for run in dict.fromkeys(ngrams.runs(words, 0, len(words)))])
        last, size = len(averages) - 1, len(words)
        there = frozenset(words)
        padded = [0, 0, *words, 1, 1]
        before: dict[int, float] = {}
        found = []
        for at, new, offered in additions:
            left, right = padded[at : at + 2], padded[at + 2 : at + 4]
            if at == size:
                del right[1]
            if at not in before:
                before[at] = own - self._walk(left, right, ngrams)
            gain = before[at] + self._walk(left, new + right, ngrams) - offered - averages[min(size + len(new), last)]
            for word in new:
                if word not in there:
                    gain += get(word, 0.0)
            found.append(math.exp(max(-MOST, min(MOST, gain))))
        return found

    def _walk(self, left: list[int], words: list[int], ngrams: NGrams) -> float:
        """What words behind two others bring: how likely they are, and the factors of what they end."""
        steps = self._steps
        first, second = left
        total = 0.0
        for third in words:
            key = first << 42 | second << 21 | third
            step = steps.get(key)
            if step is None:
                pair, triple = ngrams.ending(first, second, third)
                step = ngrams.chance(first, second, third)
                step += self.factors.get(pair, 0.0) + self.factors.get(triple, 0.0)
                if len(steps) < _REMEMBERED:
                    steps[key] = step
            total += step
            first, second = second, third
        return total

    @classmethod
    def learn(
        cls, captions: Sequence[Sequence[int]], growths: Sequence[Sequence[Growth]], coverage: float, rounds: int = 50
    ) -> LengthBalance:
        """Finds the factors, and the reluctance under which the wanted share of captions is added to.

        Args:
            captions: The runs of each.
            growths: What could be added to it.
            coverage: Share of captions to add to; at most nine tenths of those where something can be.
            rounds: How often the classifier and the additions answer each other.
        """
        if not any(growths):
            return cls()
        game = _LengthGame(captions, growths)
        factors, reluctance = game.play(coverage, rounds)
        get = factors.get
        known = np.array([get(run, 0.0) for run in game.runs.tolist()])
        return cls(factors, game.averages(game.source.by_row(known)).tolist(), reluctance)


class _LengthGame(Game):
    """Additions against captions that are as long."""

    whole = True
    fewest = 8
    rate = 1.0

    def __init__(self, captions: Sequence[Sequence[int]], growths: Sequence[Sequence[Growth]]) -> None:
        super().__init__(captions, growths)
        lengths = np.array([sum(run < PAIRS for run in found) for found in captions])
        last = int(np.flatnonzero(np.bincount(lengths) >= min(_CAPTIONS, len(captions) // 4)).max())
        self.lengths = np.minimum(lengths, last)
        self.made = np.minimum([growth.length for found in growths for growth in found], last)
        self.there = np.maximum(np.bincount(self.lengths), 1)

    def averages(self, of_captions: np.ndarray) -> np.ndarray:
        """By length, the mean of what the factors give captions."""
        return np.asarray(np.bincount(self.lengths, of_captions) / self.there)

    def gains(self, factors: np.ndarray) -> np.ndarray:
        """See :class:`Game`: of all the longer caption is made of, over the mean of captions as long."""
        of_captions = self.source.by_row(factors)
        return of_captions[self.of] + super().gains(factors) - self.averages(of_captions)[self.made]

    def set_against(self, chosen: np.ndarray) -> np.ndarray:
        """See :class:`Game`: captions of each length count as much as what is made so long."""
        of_length = np.bincount(self.made, chosen, len(self.there)) / self.there
        return np.asarray(of_length[self.lengths])
