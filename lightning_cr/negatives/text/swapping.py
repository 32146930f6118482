"""What the swaps share: an edit that makes two stretches change places, and which things can take part."""

from __future__ import annotations

from collections.abc import Iterator

from lightning_cr.negatives.text.fluent import Edit
from lightning_cr.negatives.text.reading import NounPhrase, Reading, are_alike

__all__ = ["NOT_THINGS", "Stretch", "agrees", "is_movable", "is_owned", "pairs", "swapped"]

Stretch = tuple[int, int]
"""First token and one past the last."""

NOT_THINGS = frozenset(
    word
    for line in (
        "top front side sides back group bunch pair pairs picture photo photograph view image scene middle background",
        "foreground something one other others line row set lot lots variety area kind type piece day time part shot",
        "close end edge corner center inside outside left right air it they he she them him her there what way order",
        "display turn use work fun love style color size number amount",
    )
    for word in line.split()
)
"""Nouns that say where, how many or of what sort: to move one changes the sense of other words."""

_FINITE = frozenset(("VBZ", "VBP"))


def swapped(one: Stretch, other: Stretch) -> Edit:
    """Two stretches in each other's place, the first in the caption named first."""
    return Edit(((*one, (other,)), (*other, (one,))), one, other)


def pairs(reading: Reading) -> Iterator[tuple[int, int]]:
    """Two things each, by number, that can leave their places and are not of one sort; the first comes first."""
    things = reading.things
    movable = [number for number, thing in enumerate(things) if is_movable(thing, reading)]
    for at, second in enumerate(movable):
        for first in movable[:at]:
            if not are_alike(things[first], things[second]):
                yield first, second


def is_movable(thing: NounPhrase, reading: Reading) -> bool:
    """Whether a thing can leave its place; what holds, is held ("a bowl of soup") or is somebody's cannot."""
    words = reading.words
    if thing.head_word in NOT_THINGS or not thing.head_word[0].isalpha() or is_owned(thing, reading):
        return False
    behind = words[thing.end] if thing.end < len(words) else ""
    return behind != "of" and not (thing.start and words[thing.start - 1] == "of")


def is_owned(thing: NounPhrase, reading: Reading) -> bool:
    """Whether it is somebody's, or the somebody ("the man's hat")."""
    words = reading.words
    return (thing.end < len(words) and words[thing.end] == "'s") or (thing.start > 0 and words[thing.start - 1] == "'s")


def agrees(first: NounPhrase, second: NounPhrase, reading: Reading) -> bool:
    """Whether no verb goes by the number of one of two things that differ in number."""
    tokens = reading.caption.tokens
    return first.plural == second.plural or not any(token.tag in _FINITE for token in tokens[first.end :])
