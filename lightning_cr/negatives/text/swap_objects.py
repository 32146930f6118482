"""Swaps two things: "a man riding a horse" becomes "a horse riding a man"."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lightning_cr.negatives.text.assertions import Assertions
from lightning_cr.negatives.text.fluent import Edit, FluentRule
from lightning_cr.negatives.text.reading import NounPhrase, Reading, are_alike, says_the_same_swapped
from lightning_cr.negatives.text.rewriting import rotated
from lightning_cr.negatives.text.swapping import Stretch, is_owned, pairs, swapped

__all__ = ["SwapObjects"]

_FINITE = frozenset(("VBZ", "VBP"))


class SwapObjects(FluentRule):
    """Swaps the nouns of two things; AHNPL calls it the relation swap.

    Without a corpus these are neighbours that the lexicon knows. The nouns alone change places where number and article
    allow it, so that qualities stay behind ("a red cube and a blue ball"); the whole phrases do otherwise ("two dogs on
    grass"). Where the relation says the same both ways ("next to", "and"), only nouns that leave different qualities
    behind are swapped.

    Once it has learned from a corpus it swaps any two nouns, known or not, if that asserts something new (see
    :class:`Assertions`), and draws the swap by how well each noun fits its new neighbours. Options:
    :class:`FluentRule`.
    """

    settled = True

    def __init__(self, *, coverage: float = 0.36) -> None:
        super().__init__(coverage=coverage)

    def edits(self, reading: Reading, rng: random.Random) -> Iterator[Edit]:
        """All swaps of two nouns."""
        asserted = Assertions(reading, self.lexicon.tables.symmetric)
        for i, j in pairs(reading):
            first, second = reading.things[i], reading.things[j]
            if (
                _may_fit(first, second)
                and _is_bare(first) == _is_bare(second)
                and (
                    asserted.swap_is_false(i, j)
                    or (sorted(first.modifiers) != sorted(second.modifiers) and asserted.describes(i, j))
                )
            ):
                yield swapped(_noun(first, reading), _noun(second, reading))

    def plain(self, reading: Reading, rng: random.Random) -> Edit | None:
        """The first swap of two neighbours from a random thing on."""
        measures = self.lexicon.tables.measures
        symmetric = self.lexicon.tables.symmetric
        things = reading.things
        for i in rotated(range(len(things) - 1), rng):
            first, second = things[i], things[i + 1]
            if first.head is None or second.head is None or are_alike(first, second):
                continue
            if is_owned(first, reading) or is_owned(second, reading):
                continue
            if _is_portion(i, reading, measures) or _is_portion(i + 1, reading, measures):
                continue
            same_both_ways = says_the_same_swapped(first, second, reading, symmetric)
            if _nouns_fit(first, second):
                if not same_both_ways or sorted(first.modifiers) != sorted(second.modifiers):
                    return swapped(_noun(first, reading), _noun(second, reading))
            elif not same_both_ways and _phrases_fit(first, second, reading):
                return swapped((first.start, first.end), (second.start, second.end))
        return None


def _noun(thing: NounPhrase, reading: Reading) -> Stretch:
    """A noun with what goes along with it: nouns before it ("baseball uniform") do, adjectives do not."""
    start = thing.core
    first = thing.start + 1 if thing.determiner else thing.start
    while start > first and reading.caption.tokens[start - 1].tag in ("NN", "NNP"):
        start -= 1
    return start, thing.end


def _is_portion(i: int, reading: Reading, measures: frozenset[str]) -> bool:
    """Whether a thing is what another holds or counts ("a bowl of soup"), so that it cannot leave."""
    thing = reading.things[i]
    if not i or not thing.start or reading.words[thing.start - 1] != "of":
        return False
    holder = reading.things[i - 1]
    if holder.end != thing.start - 1:
        return False
    return holder.head_word in measures or (holder.head is not None and holder.head.group != "gatherings")


def _is_bare(thing: NounPhrase) -> bool:
    """Whether it stands for stuff or in a fixed phrase ("in hand", "up to bat"), where a thing that counts cannot."""
    return not thing.determiner and not thing.plural


def _may_fit(first: NounPhrase, second: NounPhrase) -> bool:
    """Whether number and article allow it, as far as the lexicon knows the nouns; the corpus tells the rest."""
    return first.plural == second.plural and (
        first.head is None or second.head is None or (first.head.number == "mass") == (second.head.number == "mass")
    )


def _nouns_fit(first: NounPhrase, second: NounPhrase) -> bool:
    return first.head is not None and second.head is not None and _may_fit(first, second)


def _phrases_fit(first: NounPhrase, second: NounPhrase, reading: Reading) -> bool:
    tokens = reading.caption.tokens
    if first.start and (reading.words[first.start - 1] == "of" or tokens[first.start - 1].tag in _FINITE):
        return False
    if reading.words[second.start - 1] == "of":
        return False
    if first.plural == second.plural:
        return True
    return not any(token.tag in _FINITE for token in tokens[first.end : second.start])
