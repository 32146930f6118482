"""What the additions share: words go in, nothing goes out, and what a corpus has at such places is drawn."""

from __future__ import annotations

import math
import random
from abc import abstractmethod
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Generic, TypeVar

from lightning_cr.negatives.text.base import AnnotatedCaption, Negative
from lightning_cr.negatives.text.context import CorpusContext
from lightning_cr.negatives.text.drawing import shares
from lightning_cr.negatives.text.fluent import Edit, FluentRule, plain_words
from lightning_cr.negatives.text.inflection import article
from lightning_cr.negatives.text.lengths import Addition, LengthBalance
from lightning_cr.negatives.text.lexicon import Entry, Tables
from lightning_cr.negatives.text.reading import Reading, read

__all__ = ["AddingRule", "Offers", "entry_of", "mixed"]

Choice = TypeVar("Choice")

_ARTICLES = frozenset(("a", "an"))

_MOST = 400
"""So many are remembered of each place, the most frequent ones."""


class Offers(Generic[Choice]):
    """What stands at a kind of place, drawn by how often it stands there.

    Args:
        shares: How often, the most frequent of them are remembered.
    """

    __slots__ = ("_chances", "_sums", "choices")

    def __init__(self, shares: Mapping[Choice, float]) -> None:
        best = sorted(shares.items(), key=lambda item: -item[1])[:_MOST]
        total = sum(share for _, share in best)
        self.choices = [choice for choice, _ in best]
        self._chances = [math.log(share / total) for _, share in best]
        self._sums = list(accumulate(share / total for _, share in best))

    def draw(self, rng: random.Random, count: int) -> list[tuple[Choice, float]]:
        """Some of them, each once, with the logarithm of its share."""
        last = len(self.choices) - 1
        if last < 0:
            return []
        sums, draw = self._sums, rng.random
        drawn = dict.fromkeys([min(bisect(sums, draw()), last) for _ in range(count)])
        return [(self.choices[at], self._chances[at]) for at in drawn]


def mixed(own: Mapping[Choice, int], wide: Mapping[Choice, int], prior: float) -> dict[Choice, float]:
    """What stands with a noun, with what stands with all of its sort worth so many mentions."""
    weight = prior / max(1, sum(wide.values()))
    return {choice: own.get(choice, 0) + weight * wide.get(choice, 0) for choice in {**own, **wide}}


def entry_of(form: str, tables: Tables) -> Entry | None:
    """What the lexicon knows of a word or phrase."""
    first, _, rest = form.partition(" ")
    if not rest:
        return tables.words.get(form)
    words = form.split()
    return next((entry for other, entry in tables.phrases.get(first, ()) if other == words), None)


class AddingRule(FluentRule):
    """Puts words into a caption; :attr:`Negative.original` is empty and the span is the place they go into.

    The span is empty too, save where an article or a capital changes on account of them ("An elephant" becomes "A gray
    elephant").
    """

    def __init__(self, *, coverage: float) -> None:
        super().__init__(coverage=coverage)
        self._balance: LengthBalance | None = None

    @abstractmethod
    def additions(self, reading: Reading, rng: random.Random) -> Iterable[Addition]:
        """What could be added; each makes the caption false as far as the text tells.

        Args:
            reading: The caption.
            rng: To put up some of many.
        """

    def edits(self, reading: Reading, rng: random.Random) -> Iterator[Edit]:
        """See :class:`FluentRule`."""
        return (_edit(addition, reading) for addition in self.additions(reading, rng))

    def learn(self, context: CorpusContext, captions: Sequence[AnnotatedCaption]) -> None:
        """See :class:`FluentRule`."""
        self._ngrams = context.ngrams
        words, found = [], []
        for index, caption in enumerate(captions):
            reading = read(caption, self.lexicon)
            words.append(plain_words(reading))
            found.append(list(self.additions(reading, random.Random(index))))
        self._balance = LengthBalance.learn(context.ngrams, words, found, self.coverage, self.most)

    def _weighed(self, reading: Reading, rng: random.Random) -> tuple[list[Edit], list[int]]:
        found = list(self.additions(reading, rng))
        if not found or self._balance is None:
            return [], []
        weights = self._balance.weights(plain_words(reading), found)
        kept, uppers = shares(weights, self._balance.reluctance)
        return [_edit(found[at], reading) for at in kept], uppers

    def write(self, caption: AnnotatedCaption, edit: Edit, kind: str) -> Negative | None:
        """Puts an edit into the caption's text."""
        negative = super().write(caption, edit, kind)
        if negative is None:
            return None
        token = caption.tokens[edit.parts[0][0]]
        text, new = caption.text, negative.text
        added = len(new) - len(text)
        start, end = negative.start, negative.end
        for at in (token.start, token.end):
            if new[:at] == text[:at] and new[at + added :] == text[at:]:
                start = end = at
                break
        else:
            if new[token.start + added :] == text[token.start :]:
                end = token.start  # the article before it changed
                while end > start and text[end - 1].isspace() and new[end - 1 + added] == text[end - 1]:
                    end -= 1
        return replace(negative, original="", start=start, end=end)


def _edit(addition: Addition, reading: Reading) -> Edit:
    """The addition as an edit of the token behind it, or at the end of the caption, of the one before."""
    words = addition.words.split()
    text = " ".join(
        article(following) if word == "a" else word for word, following in zip(words, [*words[1:], ""], strict=True)
    )
    at = addition.at
    known, tokens = reading.words, reading.caption.tokens
    # What is written before the token would be set right too, though the author wrote it so ("an demolished building").
    slip = 1 < at < len(known) and known[at - 2] in _ARTICLES and known[at - 2] != article(known[at - 1])
    if at == 0 or known[at - 1] in _ARTICLES or (slip and tokens[at - 1].end < tokens[at].start):
        return Edit(((at, at + 1, (text, (at, at + 1))),), "", text)
    return Edit(((at - 1, at, ((at - 1, at), text)),), "", text)
