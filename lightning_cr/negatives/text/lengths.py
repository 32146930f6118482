"""Weighs additions so that the results cannot be told from the captions that are as long.

An addition takes nothing out, so that there is no word whose place it could fill (see
:mod:`lightning_cr.negatives.text.flows` for edits that do). What can be chosen instead is where to add: to captions
that are poor in what comes ("a man on a bench" can take a colour, "a man in a blue shirt on a red bench" has enough).
So what weighs is all that the longer caption is made of, against what captions of its length weigh on average, and the
classifier is shown captions that are as long: the number of words itself is no mistake. Ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightning_cr.negatives.text.flows import MOST, Flow, Game
from lightning_cr.negatives.text.ngrams import BEGIN, BITS, END, PAIRS, NGrams

__all__ = ["Addition", "LengthBalance"]

_CAPTIONS = 40
"""Lengths that fewer captions reach are taken together."""

_REMEMBERED = 200_000
_ONE, _THREE = (1 << BITS) - 1, (1 << 3 * BITS) - 1


@dataclass(slots=True, eq=False)
class Addition:
    """Words that go into a caption.

    Attributes:
        at: The token before which they stand.
        words: In lower case, with "a" for "an".
        offered: Logarithm of the chance with which they were put up to be drawn.
    """

    at: int
    words: str
    offered: float = 0.0


@dataclass(slots=True)
class _Growth(Flow):
    """An addition, as far as its runs of words go; what is likely is over the chance with which it was offered, too.

    Attributes:
        length: Words of the longer caption.
    """

    length: int


@dataclass
class LengthBalance:
    """What was learned.

    Attributes:
        ngrams: Of the corpus.
        factors: Logarithms of the factors of runs.
        averages: By length, the mean sum of these over captions; the last is of all longer ones.
        reluctance: Weight of no addition.
    """

    ngrams: NGrams
    factors: dict[int, float]
    averages: list[float]
    reluctance: float

    def __post_init__(self) -> None:
        self._steps = _Steps(self.ngrams, self.factors)

    def weights(self, words: Sequence[str], additions: Iterable[Addition]) -> list[float]:
        """How much each addition to a caption is drawn beside the others, and beside none.

        Args:
            words: The caption's, in lower case, with "a" for "an".
            additions: What could be added.
        """
        get, averages, steps, phrase = self.factors.get, self.averages, self._steps, self.ngrams.phrase
        numbers = self.ngrams.numbers(words)
        own = sum([get(run, 0.0) for run in dict.fromkeys(self.ngrams.runs(numbers, 0, len(numbers)))])
        last, size = len(averages) - 1, len(numbers)
        padded = [BEGIN, BEGIN, *numbers, END]
        places: dict[int, tuple[int, list[int], float]] = {}
        found = []
        for addition in additions:
            at, new = addition.at, phrase(addition.words)
            place = places.get(at)
            if place is None:
                left, right = padded[at] << BITS | padded[at + 1], padded[at + 2 : at + 4]
                gain, key = own, left
                for word in right:
                    key = (key << BITS | word) & _THREE
                    gain -= steps[key]
                places[at] = place = left, right, gain
            key, right, gain = place
            for word in new:
                key = (key << BITS | word) & _THREE
                gain += steps[key]
                if word not in numbers:
                    gain += get(word, 0.0)
            for word in right:
                key = (key << BITS | word) & _THREE
                gain += steps[key]
            gain -= addition.offered + averages[min(size + len(new), last)]
            found.append(math.exp(max(-MOST, min(MOST, gain))))
        return found

    @classmethod
    def learn(
        cls,
        ngrams: NGrams,
        captions: Sequence[Sequence[str]],
        additions: Sequence[Sequence[Addition]],
        coverage: float,
        most: float = 0.9,
        rounds: int = 50,
    ) -> LengthBalance:
        """Finds the factors, and the reluctance under which the wanted share of captions is added to.

        Args:
            ngrams: Of the corpus.
            captions: The words of each, in lower case, with "a" for "an".
            additions: What could be added to it.
            coverage: Share of captions to add to.
            most: Share of those where something can be added, above which there is nothing.
            rounds: How often the classifier and the additions answer each other.
        """
        if not any(additions):
            return cls(ngrams, {}, [0.0], math.exp(MOST))  # nothing is drawn of what was never weighed
        numbers = [ngrams.numbers(words) for words in captions]
        growths = [_grown(words, found, ngrams) for words, found in zip(numbers, additions, strict=True)]
        game = _LengthGame([ngrams.runs(words, 0, len(words)) for words in numbers], growths)
        factors, reluctance = game.play(coverage, most, rounds)
        get = factors.get
        known = np.array([get(run, 0.0) for run in game.runs.tolist()])
        return cls(ngrams, factors, game.averages(game.source.by_row(known)).tolist(), reluctance)


class _Steps(dict[int, float]):
    """By three words in one number, what the last brings: how likely it is, and the factors of what it ends."""

    def __init__(self, ngrams: NGrams, factors: Mapping[int, float]) -> None:
        super().__init__()
        self.ngrams, self.factors = ngrams, factors

    def __missing__(self, key: int) -> float:
        first, second, third = key >> 2 * BITS, key >> BITS & _ONE, key & _ONE
        ends = self.ngrams.runs([first, second, third], 2, 2)
        step = self.ngrams.chance(first, second, third) + sum([self.factors.get(run, 0.0) for run in ends[:2]])
        if len(self) < _REMEMBERED:
            self[key] = step
        return step


def _grown(words: list[int], additions: Iterable[Addition], ngrams: NGrams) -> list[_Growth]:
    """The additions to a caption with what comes and goes."""
    found = []
    places: dict[int, tuple[float, list[int]]] = {}
    for addition in additions:
        at, new = addition.at, ngrams.phrase(addition.words)
        if at not in places:
            places[at] = ngrams.likelihood(words, at, at), ngrams.runs(words, at, at)
        likelihood, taken_out = places[at]
        start = min(2, at)
        near = words[at - start : at] + new + words[at : at + 2]
        end = start + len(new)
        likelihood = ngrams.likelihood(near, start, end) - likelihood - addition.offered
        put_in = [run for run in ngrams.runs(near, start, end) if run >= PAIRS or run not in words]
        found.append(_Growth(likelihood, put_in, taken_out, len(words) + len(new)))
    return found


class _LengthGame(Game):
    """Additions against captions that are as long."""

    whole = True
    fewest = 8
    rate = 1.0

    def __init__(self, captions: Sequence[Sequence[int]], growths: Sequence[Sequence[_Growth]]) -> None:
        super().__init__(captions, growths)
        lengths = np.array([sum(run < PAIRS for run in found) for found in captions])
        longer = np.bincount(lengths)[::-1].cumsum()[::-1]  # captions of a length or longer
        last = int(np.flatnonzero(longer >= min(_CAPTIONS, len(captions))).max())
        self.lengths = np.minimum(lengths, last)
        self.made = np.minimum([growth.length for found in growths for growth in found], last)
        self.there = np.maximum(np.bincount(self.lengths), 1)

    def averages(self, of_captions: np.ndarray) -> np.ndarray:
        """By length, the mean of what the factors give captions."""
        return np.asarray(np.bincount(self.lengths, of_captions) / self.there)

    def gains(self, factors: np.ndarray) -> np.ndarray:
        """See :class:`Game`: of all the longer caption is made of, over the mean of captions as long."""
        of_captions = self.source.by_row(factors)
        return np.asarray(of_captions[self.of] + super().gains(factors) - self.averages(of_captions)[self.made])

    def set_against(self, chosen: np.ndarray) -> np.ndarray:
        """See :class:`Game`: captions of each length count as much as what is made so long."""
        of_length = np.bincount(self.made, chosen, len(self.there)) / self.there
        return np.asarray(of_length[self.lengths])
