"""Swaps two things: "a man riding a horse" becomes "a horse riding a man"."""

from __future__ import annotations

import random

from lightning_cr.negatives.text.base import AnnotatedCaption, Negative, TextRule
from lightning_cr.negatives.text.reading import NounPhrase, Reading, are_alike, read, says_the_same_swapped
from lightning_cr.negatives.text.rewriting import raw, rewrite, rotated

__all__ = ["SwapObjects"]

_FINITE = frozenset(("VBZ", "VBP"))


class SwapObjects(TextRule):
    """Swaps the nouns of two neighbouring things; AHNPL calls it the relation swap.

    The nouns alone change places where number and article allow it, so that qualities stay behind ("a red cube and a
    blue ball"); the whole phrases do otherwise ("two dogs on grass"). Where the relation says the same both ways
    ("next to", "and"), only nouns that leave different qualities behind are swapped.
    """

    def __call__(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Negative | None:
        """See :class:`TextRule`."""
        reading = read(caption, self.lexicon)
        measures = self.lexicon.tables.measures
        symmetric = self.lexicon.tables.symmetric
        things = reading.things
        for i in rotated(range(len(things) - 1), rng):
            first, second = things[i], things[i + 1]
            if first.head is None or second.head is None or are_alike(first, second):
                continue
            if _is_owned(first, reading) or _is_owned(second, reading):
                continue
            portion = _is_portion(i, reading, measures) or _is_portion(i + 1, reading, measures)
            if portion:
                continue
            same_both_ways = says_the_same_swapped(first, second, reading, symmetric)
            if _nouns_fit(first, second):
                if same_both_ways and sorted(first.modifiers) == sorted(second.modifiers):
                    continue
                one, other = (_compound(first, reading), first.end), (_compound(second, reading), second.end)
            elif not same_both_ways and _phrases_fit(first, second, reading):
                one, other = (first.start, first.end), (second.start, second.end)
            else:
                continue
            a, b = raw(caption, *one), raw(caption, *other)
            return rewrite(caption, [(*one, b), (*other, a)], kind, a, b)
        return None


def _compound(thing: NounPhrase, reading: Reading) -> int:
    """First token of what goes along with a noun: nouns before it ("baseball uniform") do, adjectives do not."""
    start = thing.core
    first = thing.start + 1 if thing.determiner else thing.start
    while start > first and reading.caption.tokens[start - 1].tag in ("NN", "NNP"):
        start -= 1
    return start


def _is_owned(thing: NounPhrase, reading: Reading) -> bool:
    words = reading.words
    return (thing.end < len(words) and words[thing.end] == "'s") or (thing.start > 0 and words[thing.start - 1] == "'s")


def _is_portion(i: int, reading: Reading, measures: frozenset[str]) -> bool:
    """Whether a thing is what another holds or counts ("a bowl of soup"), so that it cannot leave."""
    thing = reading.things[i]
    if not i or not thing.start or reading.words[thing.start - 1] != "of":
        return False
    holder = reading.things[i - 1]
    if holder.end != thing.start - 1:
        return False
    return holder.head_word in measures or (holder.head is not None and holder.head.group != "gatherings")


def _nouns_fit(first: NounPhrase, second: NounPhrase) -> bool:
    if first.head is None or second.head is None or first.plural != second.plural:
        return False
    return (first.head.number == "mass") == (second.head.number == "mass")


def _phrases_fit(first: NounPhrase, second: NounPhrase, reading: Reading) -> bool:
    tokens = reading.caption.tokens
    if first.start and (reading.words[first.start - 1] == "of" or tokens[first.start - 1].tag in _FINITE):
        return False
    if reading.words[second.start - 1] == "of":
        return False
    if first.plural == second.plural:
        return True
    return not any(token.tag in _FINITE for token in tokens[first.end : second.start])
