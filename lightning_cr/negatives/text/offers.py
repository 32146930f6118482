"""What a corpus has at a kind of place, and how some of it is put up, of which one is drawn."""

from __future__ import annotations

import math
import random
from bisect import bisect, bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Generic, NamedTuple, TypeVar

from lightning_cr.negatives.text.base import Negative
from lightning_cr.negatives.text.drawing import WHOLE, ByShare, drawn, shares

__all__ = ["ByOffer", "Offered", "Offers", "mixed"]

Choice = TypeVar("Choice")

_MOST = 400
"""So many are remembered of each place, the most frequent ones."""

_DRAWN = 3
"""So many are put up at each place."""


class Offers(Generic[Choice]):
    """What stands at a kind of place, put up by how often it stands there.

    Args:
        shares: How often, the most frequent of them are remembered.

    Attributes:
        choices: The most frequent first.
        chances: The logarithm of the share of each.
        sums: Of the shares up to each.
    """

    __slots__ = ("chances", "choices", "sums")

    def __init__(self, shares: Mapping[Choice, float]) -> None:
        best = sorted(shares.items(), key=lambda item: -item[1])[:_MOST]
        total = sum(share for _, share in best)
        self.choices = [choice for choice, _ in best]
        self.chances = [math.log(share / total) for _, share in best]
        self.sums = list(accumulate(share / total for _, share in best))

    def draw(self, rng: random.Random) -> list[int]:
        """The places of some of them, each once."""
        last = len(self.choices) - 1
        if last < 0:
            return []
        sums, draw = self.sums, rng.random
        return list(dict.fromkeys([min(bisect(sums, draw()), last) for _ in range(_DRAWN)]))


class Offered(NamedTuple):
    """A place of a caption with all that may be put up there and counts.

    Attributes:
        offers: What may be put up.
        numbers: The places in it of what counts, in order.
        weights: How much each of them is drawn beside the others, and beside none.
        negatives: What comes of each.
    """

    offers: Offers[Any]
    numbers: Sequence[int]
    weights: Sequence[float]
    negatives: Sequence[Negative | None]


class ByOffer(ByShare):
    """Draws from what is put up at each place of a caption: first that, then one of those by their weights."""

    codes = "iIIHdIdd"
    # The first place of each caption; of each place which offers it has, and the first of what counts there; of that,
    # which of the offers and how heavy; of each of the offers the first sum; the sums; the weight of none.

    def __init__(self, columns: Sequence[Any] = ()) -> None:
        super().__init__(columns)
        if not columns:
            for column in (1, 4):
                self._others[column].append(0)
        self._known: dict[Offers[Any], int] = {}

    def add(self, choices: Any) -> list[Any]:
        """See :class:`ByShare`.

        Args:
            choices: The weight of none, and the places (:class:`Offered`) in the order in which they are put up.
        """
        which, firsts, numbers, weights, bounds, sums, none = self._others
        reluctance, places = choices or (0.0, ())
        for place in places:
            offers = place.offers
            number = self._known.setdefault(offers, len(self._known))
            if number == len(bounds) - 1:
                sums.extend(offers.sums)
                bounds.append(len(sums))
            which.append(number)
            numbers.extend(place.numbers)
            weights.extend(place.weights)
            firsts.append(len(weights))
        if places and not none:
            none.append(reluctance)
        self._rows.append(len(which))
        return [negative for place in places for negative in place.negatives]

    def draw(self, row: int, rng: random.Random) -> int:
        """See :class:`ByShare`."""
        which, firsts, numbers, weights, bounds, sums, none = self._others
        draw, places, last = rng.random, self._rows[row], self._rows[row + 1]
        found: list[int] = []
        end = firsts[places]
        for place in range(places, last):
            first, end = end, firsts[place + 1]
            if first == end:
                rng.getrandbits(64 * _DRAWN)  # takes from the generator what as many numbers would, in one call
                continue
            offers = which[place]
            low, high = bounds[offers], bounds[offers + 1]
            for _ in range(_DRAWN):
                number = bisect(sums, draw(), low, high) - low
                if number == high - low:
                    number -= 1
                at = bisect_left(numbers, number, first, end)
                if at < end and numbers[at] == number and at not in found:
                    found.append(at)
        if not found:
            return -1
        if len(found) == 1 and none[0]:  # as below, for what is most frequent
            at = found[0]
            return at if int(draw() * WHOLE) < round(WHOLE * weights[at] / (weights[at] + none[0])) else -1
        kept, uppers = shares([weights[at] for at in found], none[0])
        at = drawn(uppers, rng)
        return found[kept[at]] if at < len(kept) else -1


def mixed(own: Mapping[Choice, int], wide: Mapping[Choice, int], prior: float) -> dict[Choice, float]:
    """What stands with a noun, with what stands with all of its sort worth so many mentions."""
    weight = prior / max(1, sum(wide.values()))
    return {choice: own.get(choice, 0) + weight * wide.get(choice, 0) for choice in {**own, **wide}}
