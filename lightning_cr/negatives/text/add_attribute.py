"""Says how a thing is that the caption does not: "a cat on a bed" becomes "a black cat on a bed"."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

from lightning_cr.negatives.text.adding import AddingRule, Offers
from lightning_cr.negatives.text.assertions import NO_QUALITIES, OPINIONS, UNSHOWN
from lightning_cr.negatives.text.base import AnnotatedCaption
from lightning_cr.negatives.text.context import CorpusContext
from lightning_cr.negatives.text.fluent import Edit
from lightning_cr.negatives.text.lexicon import Concept
from lightning_cr.negatives.text.reading import NounPhrase, Reading, read
from lightning_cr.negatives.text.swapping import NOT_THINGS

__all__ = ["AddAttribute"]

_DESCRIBES = frozenset(("JJ", "VBN", "VBG", "NN"))
_USUAL = 0.08
"""Share of a thing's mentions from which on a quality goes without saying ("green grass"), and is not false."""


class AddAttribute(AddingRule):
    """SugarCrepe's add_att: puts a quality before the noun of a thing.

    It is one that the lexicon knows to fit the thing, of a kind of which the caption says nothing for that thing. Once
    it has learned from a corpus, it is one that stands before the noun there, but not so often that it goes without
    saying. Options: :class:`FluentRule`.
    """

    def __init__(self, *, coverage: float = 0.3) -> None:
        super().__init__(coverage=coverage)
        self._offers: dict[str, Offers] = {}

    def learn(self, context: CorpusContext, captions: Sequence[AnnotatedCaption]) -> None:
        """See :class:`FluentRule`."""
        seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
        mentions: Counter[str] = Counter()
        for caption in captions:
            reading = read(caption, self.lexicon)
            for thing in reading.things:
                mentions[thing.head_word] += 1
                at = thing.core - 1
                if at >= thing.start and caption.tokens[at].tag in _DESCRIBES and reading.words[at].isalpha():
                    seen[thing.head_word][reading.words[at]] += 1
        self._offers = {
            noun: Offers({word: n for word, n in words.items() if self._may_add(word) and n <= _USUAL * mentions[noun]})
            for noun, words in seen.items()
        }
        super().learn(context, captions)

    def edits(self, reading: Reading, rng: random.Random) -> Iterator[Edit]:
        """Some qualities of each thing."""
        for thing in reading.things:
            behind = reading.words[thing.end] if thing.end < len(reading.words) else ""
            if thing.head_word in NOT_THINGS or thing.head is None or behind == "of":
                continue
            if self._ngrams is None and not self._offers:
                fitting = [word for word in self._words if self._fits(word, thing)]
                offers = [(rng.choice(fitting), 0.0)] if fitting else []
            else:
                known = self._offers.get(thing.head_word)
                offers = [offer for offer in known.draw(rng) if self._fits(offer[0], thing)] if known else []
            at = thing.core
            for word, share in offers:
                yield Edit(((at, at + 1, (word, (at, at + 1))),), "", word, share)

    @cached_property
    def _words(self) -> dict[str, tuple[Concept, ...]]:
        """The first names of all qualities that may be added."""
        tables = self.lexicon.tables
        named = {concept.name for entry in tables.words.values() for concept in entry.qualities}
        return {
            name: tables.words[name].qualities for name in sorted(named & tables.words.keys()) if self._may_add(name)
        }

    def _may_add(self, word: str) -> bool:
        entry = self.lexicon.tables.words.get(word)
        if word in NO_QUALITIES or word in OPINIONS or (entry is not None and entry.fixed):
            return False
        return entry is None or all(concept.group not in UNSHOWN for concept in entry.qualities)

    def _fits(self, word: str, thing: NounPhrase) -> bool:
        """Whether it can be said of the thing, and nothing of its kind is said already, in whatever words."""
        entry = self.lexicon.tables.words.get(word)
        if word in thing.modifiers:
            return False
        if entry is None or not entry.qualities:
            return not thing.modifiers  # what the lexicon does not know may be another word for what is there
        fitting = [concept for concept in entry.qualities if concept.fits(thing.head)]
        taken = {concept.group for quality in thing.qualities for concept in quality.concepts}
        return bool(fitting) and not any(concept.group in taken for concept in entry.qualities)
