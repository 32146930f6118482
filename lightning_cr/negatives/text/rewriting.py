"""Puts words into a caption and leaves the rest byte for byte, save for what English asks: capitals and a/an."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from lightning_cr.negatives.text.base import AnnotatedCaption, Negative
from lightning_cr.negatives.text.inflection import article

__all__ = ["raw", "rewrite", "rotated"]

T = TypeVar("T")

_ENDS_SENTENCE = frozenset(".!?")


def _opens_sentence(caption: AnnotatedCaption, token: int) -> bool:
    return token == 0 or caption.tokens[token - 1].text in _ENDS_SENTENCE


def raw(caption: AnnotatedCaption, start: int, end: int) -> str:
    """The text of some tokens, without the capital that only the beginning of a sentence gave them."""
    text = caption.text[caption.tokens[start].start : caption.tokens[end - 1].end]
    first = caption.tokens[start].text
    if first[0].isupper() and _opens_sentence(caption, start) and (len(first) == 1 or not first.isupper()):
        return text[0].lower() + text[1:]
    return text


def rewrite(
    caption: AnnotatedCaption,
    edits: list[tuple[int, int, str]],
    kind: str,
    original: str,
    replacement: str,
    concreteness: float | None = None,
) -> Negative | None:
    """Applies edits to a caption.

    Args:
        caption: What is edited.
        edits: First token, one past the last token, and the new words; in order, without overlap.
        kind: Slot of the negative.
        original: For the record.
        replacement: For the record.
        concreteness: For the record.

    Returns:
        The negative, or None where the caption would only change in capitals or white space, or where a slip of its
        author's is in the way: half a hyphened word, two articles in a row.
    """
    text, tokens = caption.text, caption.tokens
    if any(_is_half(caption, start, end) or _has_two_articles(caption, start) for start, end, _ in edits):
        return None
    pieces: list[str] = []
    done = 0
    first = -1
    for start, end, new in edits:
        begin = tokens[start].start
        if start:
            before = tokens[start - 1]
            wanted = before.text.lower()
            if wanted == "a" or wanted == "an":
                word = new.partition(" ")[0]
                # "SUV" is spelled out, but not "MAN" where all is in capitals
                right = article(word.lower() if text.isupper() else word)
                if right != wanted:
                    begin = before.start
                    cased = _like(before.text, right, caption)
                    new = cased + text[before.end : tokens[start].start] + _cased(caption, start, new)
                    pieces += (text[done:begin], new)
                    done = tokens[end - 1].end
                    first = begin if first < 0 else first
                    continue
        pieces += (text[done:begin], _cased(caption, start, new))
        done = tokens[end - 1].end
        first = begin if first < 0 else first
    pieces.append(text[done:])
    result = "".join(pieces)
    if result.lower().split() == text.lower().split():
        return None
    return Negative(result, kind, original, replacement, first, done, concreteness)


def _is_half(caption: AnnotatedCaption, start: int, end: int) -> bool:
    """Whether a hyphen joins the tokens to what stands beside them ("walkie- talkie", "the beach--kite flying")."""
    text, tokens = caption.text, caption.tokens
    return text[tokens[end - 1].end :][:1] == "-" or text[: tokens[start].start][-1:] == "-"


def _has_two_articles(caption: AnnotatedCaption, start: int) -> bool:
    """Whether two articles stand before a token ("over a an airport")."""
    return start > 1 and all(token.text.lower() in ("a", "an") for token in caption.tokens[start - 2 : start])


def _cased(caption: AnnotatedCaption, token: int, new: str) -> str:
    """New words in the capitals of the place they are put in."""
    old = caption.tokens[token].text
    if not old[0].isupper():
        return new
    if _opens_sentence(caption, token) or (old.istitle() and not new[0].isupper() and _is_titled(caption)):
        new = new[0].upper() + new[1:]
    return new.upper() if caption.text.isupper() else new


def _like(old: str, new: str, caption: AnnotatedCaption) -> str:
    """An article in the capitals of the one it replaces."""
    if not old[0].isupper():
        return new
    return new.upper() if caption.text.isupper() else new.capitalize()


def _is_titled(caption: AnnotatedCaption) -> bool:
    """Whether the caption is written Like A Title."""
    words = [token.text for token in caption.tokens if token.text.isalpha()]
    return len(words) > 1 and all(word[0].isupper() for word in words)


def rotated(items: Sequence[T], rng: random.Random) -> Sequence[T]:
    """The items from a random one on, round to the one before it: cheaper than a shuffle."""
    if len(items) < 2:
        return items
    at = int(rng.random() * len(items))
    return [*items[at:], *items[:at]]
