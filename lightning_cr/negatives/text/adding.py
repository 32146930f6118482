"""What the additions share: words go in, nothing goes out, and what a corpus has at such places is drawn."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from lightning_cr.negatives.text.base import AnnotatedCaption, Negative
from lightning_cr.negatives.text.context import CorpusContext
from lightning_cr.negatives.text.drawing import enough, shares
from lightning_cr.negatives.text.fluent import Edit, FluentRule, plain_words
from lightning_cr.negatives.text.inflection import article
from lightning_cr.negatives.text.lengths import Addition, LengthBalance
from lightning_cr.negatives.text.lexicon import Entry, Tables
from lightning_cr.negatives.text.offers import ByOffer, Offered, Offers
from lightning_cr.negatives.text.reading import Reading, read

__all__ = ["AddingRule", "Place", "entry_of"]

_ARTICLES = frozenset(("a", "an"))

_REMEMBERED = 50_000

_Admits = Callable[[Any], bool]
Place = tuple[int, Offers[Any], _Admits]
"""The token before which something can be added, what may be put up there (the words come first), and what of it."""


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
        self._offers: dict[str, Offers[Any]] = {}

    @property
    def draws(self) -> type[ByOffer] | None:
        """See :class:`TextRule`; nothing is settled where no corpus says what may be put up."""
        return ByOffer if self._offers else None

    @abstractmethod
    def places(self, reading: Reading) -> Iterator[Place]:
        """Where something can be added, by what the corpus has at such places.

        Args:
            reading: The caption.
        """

    @abstractmethod
    def unlearned(self, reading: Reading, rng: random.Random) -> Iterator[Addition]:
        """What could be added as long as no corpus says what is said of such things.

        Args:
            reading: The caption.
            rng: To put up one of many.
        """

    def edits(self, reading: Reading, rng: random.Random) -> Iterator[Edit]:
        """See :class:`FluentRule`."""
        return (_edit(addition, reading) for addition in self._put_up(reading, rng))

    def learn(self, context: CorpusContext, captions: Sequence[AnnotatedCaption]) -> None:
        """See :class:`FluentRule`."""
        self._ngrams = context.ngrams
        words, found = [], []
        for index, caption in enumerate(captions):
            reading = read(caption, self.lexicon)
            words.append(plain_words(reading))
            found.append(list(self._put_up(reading, random.Random(index))))
        self._balance = LengthBalance.learn(context.ngrams, words, found, self.coverage, self.most)

    def choices(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Any:
        """See :class:`ByOffer`."""
        if self._balance is None:
            return None
        reading = read(caption, self.lexicon)
        places, numbers = [], []
        found: list[Addition] = []
        for at, offers, admits in self.places(reading):
            if offers.choices:
                admitted = [number for number, choice in enumerate(offers.choices) if admits(choice)]
                places.append((offers, range(len(found), len(found) + len(admitted))))
                numbers += admitted
                found += [Addition(at, offers.choices[number][0], offers.chances[number]) for number in admitted]
        weights = self._balance.weights(plain_words(reading), found)
        counts = set(enough(weights, self._balance.reluctance))
        offered = []
        for offers, span in places:
            those = [at for at in span if at in counts]
            made = [self.write(caption, _edit(found[at], reading), kind) for at in those]
            offered.append(Offered(offers, [numbers[at] for at in those], [weights[at] for at in those], made))
        return self._balance.reluctance, offered

    def _put_up(self, reading: Reading, rng: random.Random) -> Iterator[Addition]:
        """Some of what could be added; each makes the caption false as far as the text tells."""
        if not self._offers:
            yield from self.unlearned(reading, rng)
            return
        for at, offers, admits in self.places(reading):
            for number in offers.draw(rng):
                if admits(offers.choices[number]):
                    yield Addition(at, offers.choices[number][0], offers.chances[number])

    def _weighed(self, reading: Reading, rng: random.Random) -> tuple[list[Edit], list[int]]:
        found = list(self._put_up(reading, rng))
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
        return Negative(new, kind, "", negative.replacement, start, end)


def _edit(addition: Addition, reading: Reading) -> Edit:
    """The addition as an edit of the token behind it, or at the end of the caption, of the one before."""
    text, at = _written(addition.words), addition.at
    known, tokens = reading.words, reading.caption.tokens
    # What is written before the token would be set right too, though the author wrote it so ("an demolished building").
    slip = 1 < at < len(known) and known[at - 2] in _ARTICLES and known[at - 2] != article(known[at - 1])
    if at == 0 or known[at - 1] in _ARTICLES or (slip and tokens[at - 1].end < tokens[at].start):
        return Edit(((at, at + 1, (text, (at, at + 1))),), "", text)
    return Edit(((at - 1, at, ((at - 1, at), text)),), "", text)


@lru_cache(_REMEMBERED)
def _written(words: str) -> str:
    """The words with "an" where it belongs."""
    every = words.split()
    return " ".join(
        article(following) if word == "a" else word for word, following in zip(every, [*every[1:], ""], strict=True)
    )
