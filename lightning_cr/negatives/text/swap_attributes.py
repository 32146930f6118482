"""Swaps the qualities of two things: "a red cube and a blue ball" becomes "a blue cube and a red ball"."""

from __future__ import annotations

import random

from lightning_cr.negatives.text.base import AnnotatedCaption, Negative, TextRule
from lightning_cr.negatives.text.reading import (
    NounPhrase,
    Quality,
    Reading,
    are_alike,
    read,
    says_the_same_swapped,
)
from lightning_cr.negatives.text.rewriting import raw, rewrite

__all__ = ["SwapAttributes"]


class SwapAttributes(TextRule):
    """Swaps two qualities of one kind (colour with colour, size with size) between two things.

    Two things of the same name are swapped only under a relation that says something else the other way round.
    """

    def __call__(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Negative | None:
        """See :class:`TextRule`."""
        reading = read(caption, self.lexicon)
        described = [thing for thing in reading.things if thing.qualities]
        if len(described) < 2:
            return None
        pairs = [
            (one, other)
            for i, first in enumerate(described)
            for second in described[i + 1 :]
            if self._may_swap(first, second, reading)
            for one in first.qualities
            for other in second.qualities
            if _exchangeable(one, first, other, second)
        ]
        if not pairs:
            return None
        one, other = rng.choice(pairs)
        if one.start > other.start:
            one, other = other, one
        a, b = raw(caption, one.start, one.end), raw(caption, other.start, other.end)
        return rewrite(caption, [(one.start, one.end, b), (other.start, other.end, a)], kind, a, b)

    def _may_swap(self, first: NounPhrase, second: NounPhrase, reading: Reading) -> bool:
        if not are_alike(first, second):
            return True
        return not says_the_same_swapped(first, second, reading, self.lexicon.tables.symmetric)


def _exchangeable(one: Quality, first: NounPhrase, other: Quality, second: NounPhrase) -> bool:
    """Whether each quality can be said of the other thing, is new there, and is of the same kind."""
    names = {concept.name for quality in second.qualities for concept in quality.concepts}
    if any(concept.name in names for concept in one.concepts):
        return False
    names = {concept.name for quality in first.qualities for concept in quality.concepts}
    if any(concept.name in names for concept in other.concepts):
        return False
    for concept in one.concepts:
        if concept.fits(first.head) and concept.fits(second.head):
            return any(
                counterpart in concept.alternatives and counterpart.fits(first.head) for counterpart in other.concepts
            )
    return False
