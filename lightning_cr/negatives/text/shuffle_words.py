"""Shuffles a caption's words: "a black cat on a red mat" becomes "a red mat on a black cat", or worse."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from lightning_cr.errors import ConfigError, suggest
from lightning_cr.negatives.text.base import AnnotatedCaption, Negative, TextRule
from lightning_cr.negatives.text.inflection import article
from lightning_cr.negatives.text.rewriting import raw, rewrite

__all__ = ["Mode", "ShuffleWords", "other_order", "word_order"]

Mode = Literal["nouns_and_adjectives", "others", "trigrams", "within_trigrams"]

_NOUNS = frozenset(("NN", "NNS", "NNP", "NNPS"))
_ADJECTIVES = frozenset(("JJ", "JJR", "JJS"))
_DRAWS = 8
"""How often an order is drawn again that reads as the caption does."""


class ShuffleWords(TextRule):
    """One of the four word orders of "When and why vision-language models behave like bags-of-words" (2210.01936).

    They are ARO's COCO-Order and Flickr30k-Order; NegCLIP's own negatives are swaps. The words of the caption stay, in
    another order, and marks count as words. Unlike the authors' code it never gives the caption itself: where no other
    order can be made, or none comes in a few draws, there is no negative. White space stays where it is, a capital at
    the beginning, and a/an follows; the authors' captions are tokens with a space between, which tells them from
    captions by itself.

    Args:
        mode: ``nouns_and_adjectives``: nouns change places with nouns, and adjectives with adjectives. ``others``: all
            other words change places with each other. ``trigrams``: the caption is cut into threes from the beginning,
            and these are shuffled. ``within_trigrams``: the words in each three are.

    Raises:
        ConfigError: An unknown mode.
    """

    def __init__(self, *, mode: Mode = "nouns_and_adjectives") -> None:
        if mode not in _ORDERS:
            known = ", ".join(get_args(Mode))
            raise ConfigError(f"ShuffleWords.mode is '{mode}'; known are {known}.{suggest(mode, _ORDERS)}")
        self.mode = mode

    def __call__(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Negative | None:
        """See :class:`TextRule`."""
        order = other_order(caption, self.mode, rng)
        return None if order is None else _write(caption, order, _changed(caption, order), kind)


def word_order(caption: AnnotatedCaption, mode: Mode, rng: random.Random) -> list[int]:
    """What stands at each place of a caption once it is shuffled, by its place before; it may be the caption's order.

    Args:
        caption: With tags.
        mode: See :class:`ShuffleWords`.
        rng: Draws the order.
    """
    return _ORDERS[mode]([token.tag for token in caption.tokens], rng)


def other_order(caption: AnnotatedCaption, mode: Mode, rng: random.Random) -> list[int] | None:
    """As :func:`word_order`, but one that reads otherwise; None where there is none, or none comes in a few draws."""
    for _ in range(_DRAWS):
        order = word_order(caption, mode, rng)
        if _changed(caption, order):
            return order
    return None


def _changed(caption: AnnotatedCaption, order: Sequence[int]) -> list[int]:
    """Places where another word stands now; "an" is "a"."""
    words = ["a" if token.text.lower() == "an" else token.text.lower() for token in caption.tokens]
    return [at for at, now in enumerate(order) if words[at] != words[now]]


def _write(caption: AnnotatedCaption, order: list[int], changed: list[int], kind: str) -> Negative | None:
    """Writes the words from the first to the last that is another, with the white space that was there."""
    tokens, text = caption.tokens, caption.text
    first, last = changed[0], changed[-1] + 1
    # Words and marks that stand together are written anew together.
    while first and tokens[first - 1].end == tokens[first].start:
        first -= 1
    while last < len(tokens) and tokens[last - 1].end == tokens[last].start:
        last += 1
    words = [raw(caption, now, now + 1) for now in order]
    pieces: list[str] = []
    for at in range(first, last):
        word = words[at]
        if word.lower() in ("a", "an") and at + 1 < len(words):
            following = words[at + 1]
            word = _like(caption, word, article(following.lower() if text.isupper() else following))
        if at > first:
            between = text[tokens[at - 1].end : tokens[at].start]
            # A mark may have stood where a word comes now ("road.").
            pieces.append(between or (" " if word[0].isalnum() and pieces[-1][-1].isalnum() else ""))
        pieces.append(word)
    new = "".join(pieces)
    return rewrite(caption, [(first, last, new)], kind, raw(caption, first, last), new)


def _like(caption: AnnotatedCaption, old: str, new: str) -> str:
    if caption.text.isupper():
        return new.upper()
    return new.capitalize() if old[0].isupper() else new


def _nouns_and_adjectives(tags: Sequence[str], rng: random.Random) -> list[int]:
    order = list(range(len(tags)))
    for sort in (_NOUNS, _ADJECTIVES):
        _permute(order, [at for at, tag in enumerate(tags) if tag in sort], rng)
    return order


def _others(tags: Sequence[str], rng: random.Random) -> list[int]:
    order = list(range(len(tags)))
    _permute(order, [at for at, tag in enumerate(tags) if tag not in _NOUNS and tag not in _ADJECTIVES], rng)
    return order


def _trigrams(tags: Sequence[str], rng: random.Random) -> list[int]:
    threes = _threes(len(tags))
    rng.shuffle(threes)
    return [at for three in threes for at in three]


def _within_trigrams(tags: Sequence[str], rng: random.Random) -> list[int]:
    threes = _threes(len(tags))
    for three in threes:
        rng.shuffle(three)
    return [at for three in threes for at in three]


def _threes(count: int) -> list[list[int]]:
    return [list(range(at, min(at + 3, count))) for at in range(0, count, 3)]


def _permute(order: list[int], places: list[int], rng: random.Random) -> None:
    """Shuffles what stands at some places among these."""
    drawn = [order[at] for at in places]
    rng.shuffle(drawn)
    for at, now in zip(places, drawn, strict=True):
        order[at] = now


_ORDERS: dict[str, Callable[[Sequence[str], random.Random], list[int]]] = {
    "nouns_and_adjectives": _nouns_and_adjectives,
    "others": _others,
    "trigrams": _trigrams,
    "within_trigrams": _within_trigrams,
}
