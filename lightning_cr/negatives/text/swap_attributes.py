"""Swaps the qualities of two things: "a red cube and a blue ball" becomes "a blue cube and a red ball"."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lightning_cr.negatives.text.assertions import NO_QUALITIES
from lightning_cr.negatives.text.fluent import Edit, FluentRule
from lightning_cr.negatives.text.lexicon import Concept
from lightning_cr.negatives.text.reading import NounPhrase, Quality, Reading, are_alike, says_the_same_swapped
from lightning_cr.negatives.text.swapping import NOT_THINGS, swapped

__all__ = ["SwapAttributes"]

_DESCRIBES = frozenset(("JJ", "JJR", "VBN", "NN", "CD"))
_JOINS = frozenset(("and", "or", ",", "-"))


class SwapAttributes(FluentRule):
    """Swaps two qualities between two things.

    Without a corpus they are of one kind (colour with colour, size with size) that the lexicon knows. Two things of the
    same name are swapped only under a relation that says something else the other way round.

    Once it has learned from a corpus it swaps any two words that describe different things ("a small vase on a wooden
    table", "a kitchen table and a computer desk", "two dogs and three cats"), where each fits the other noun. Options:
    :class:`FluentRule`.
    """

    settled = True

    def __init__(self, *, coverage: float = 0.3) -> None:
        super().__init__(coverage=coverage)

    def edits(self, reading: Reading, rng: random.Random) -> Iterator[Edit]:
        """All swaps of two words that describe things."""
        things = [thing for thing in reading.things if thing.head_word not in NOT_THINGS]
        described = [(thing, self._describing(thing, reading)) for thing in things]
        for j, (second, theirs) in enumerate(described):
            for first, ours in described[:j]:
                if are_alike(first, second):
                    continue
                for one in ours:
                    for other in theirs:
                        if self._differ(one, first, other, second, reading):
                            yield swapped((one, one + 1), (other, other + 1))

    def plain(self, reading: Reading, rng: random.Random) -> Edit | None:
        """One of the swaps of qualities of one kind."""
        described = [thing for thing in reading.things if thing.qualities]
        if len(described) < 2:
            return None
        pairs = [
            (one, other)
            for i, first in enumerate(described)
            for second in described[i + 1 :]
            if not are_alike(first, second)
            or not says_the_same_swapped(first, second, reading, self.lexicon.tables.symmetric)
            for one in first.qualities
            for other in second.qualities
            if _exchangeable(one, first, other, second)
        ]
        if not pairs:
            return None
        one, other = rng.choice(pairs)
        if one.start > other.start:
            one, other = other, one
        return swapped((one.start, one.end), (other.start, other.end))

    def _describing(self, thing: NounPhrase, reading: Reading) -> list[int]:
        """The words before a noun that describe it, whether the lexicon knows them or not."""
        words, tokens = reading.words, reading.caption.tokens
        first = thing.start + 1 if thing.determiner else thing.start
        # "a group of", "black and white" are one quality, and no single word of it can leave
        phrases = {at for part in thing.qualities if part.end - part.start > 1 for at in range(part.start, part.end)}
        return [
            at
            for at in range(first, thing.head_start)
            if tokens[at].tag in _DESCRIBES
            and words[at].isalpha()
            and words[at] not in NO_QUALITIES
            and words[at + 1] != "of"
            and at not in phrases
            and words[at + 1] not in _JOINS  # "a white and brown spotted dog"
            and (at == first or words[at - 1] not in _JOINS)
        ]

    def _concepts(self, word: str) -> tuple[Concept, ...]:
        entry = self.lexicon.tables.words.get(word)
        return entry.qualities if entry else ()

    def _differ(self, one: int, first: NounPhrase, other: int, second: NounPhrase, reading: Reading) -> bool:
        """Whether each word is new to the other thing, and both count or neither does."""
        words, tokens = reading.words, reading.caption.tokens
        if words[one] in second.modifiers or words[other] in first.modifiers:
            return False
        if words[one] == words[other + 1] or words[other] == words[one + 1]:
            return False  # "a tennis tennis player"
        if (tokens[one].tag == "CD") != (tokens[other].tag == "CD"):
            return False
        ours, theirs = self._concepts(words[one]), self._concepts(words[other])
        return not any(concept in theirs for concept in ours) and not (
            _has(second, ours, besides=other) or _has(first, theirs, besides=one)
        )


def _has(thing: NounPhrase, concepts: tuple[Concept, ...], besides: int) -> bool:
    return any(
        concept in concepts for quality in thing.qualities if quality.start != besides for concept in quality.concepts
    )


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
            if concept.number == "plural" and not (first.plural and second.plural):
                return False  # "lots of grass", but no "two grass"
            return any(
                counterpart in concept.alternatives and counterpart.fits(first.head) for counterpart in other.concepts
            )
    return False
