"""Adds a thing that the caption does not name: "a cat on a bed" becomes "a cat and a dog on a bed"."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from lightning_cr.negatives.text.adding import AddingRule, Offers
from lightning_cr.negatives.text.base import AnnotatedCaption
from lightning_cr.negatives.text.context import CorpusContext
from lightning_cr.negatives.text.fluent import Edit, plain_words
from lightning_cr.negatives.text.inflection import article
from lightning_cr.negatives.text.lexicon import Concept
from lightning_cr.negatives.text.reading import NounPhrase, Reading, read
from lightning_cr.negatives.text.swapping import NOT_THINGS, is_movable

__all__ = ["AddObject"]

_JOINERS = (
    "and",
    "with",
    "near",
    "next to",
    "by",
    "beside",
    "behind",
    "in front of",
    "under",
    "on",
    "in",
    "over",
    "at",
)
_DETERMINERS = frozenset(("", "a", "an", "the", "some"))
_NEVER = frozenset(("body", "stuff", "animal"))
"""Groups that are never added: what everybody has, and what is too wide to be missing from a picture."""

_USUAL = 0.03
"""Share of the captions with a thing from which on another may well be there unsaid ("a bathroom with a sink")."""

_LONGEST = 4
_CLAUSE = 6
"""Words behind a thing among which its verb is looked for."""


class AddObject(AddingRule):
    """SugarCrepe's add_obj: puts "and a dog", "with a ball" or "near a tree" behind a thing.

    What is added is known to the lexicon, and not named in the caption by whatever word. Without a corpus it is one
    that could stand in the place of the thing; once it has learned from one, it is what such things are joined with
    there, but not so often that it may be in the picture unsaid. Options: :class:`FluentRule`.
    """

    def __init__(self, *, coverage: float = 0.3) -> None:
        super().__init__(coverage=coverage)
        self._offers: dict[tuple[str, str], Offers] = {}
        self._nouns: dict[str, str] = {}
        self._usual: set[tuple[str, str]] = set()

    def learn(self, context: CorpusContext, captions: Sequence[AnnotatedCaption]) -> None:
        """See :class:`FluentRule`."""
        seen: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        named: Counter[str] = Counter()
        together: Counter[tuple[str, str]] = Counter()
        for caption in captions:
            reading = read(caption, self.lexicon)
            words, things = plain_words(reading), reading.things
            names = sorted({thing.head.name for thing in things if thing.head})
            named.update(names)
            together.update((one, other) for one in names for other in names if one != other)
            for first, second in pairwise(things):
                joiner = " ".join(words[first.end : second.start])
                if joiner not in _JOINERS or second.head is None or second.head.group in _NEVER:
                    continue
                if second.end - second.start > _LONGEST or second.determiner not in _DETERMINERS:
                    continue
                phrase = " ".join(words[second.start : second.end])
                self._nouns[phrase] = second.head_word
                for key in (first.head_word, f"[{first.head.group}]" if first.head else "[]"):
                    seen[key, joiner][phrase] += 1
        self._usual = {pair for pair, count in together.items() if count > _USUAL * named[pair[0]]}
        self._offers = {place: Offers(phrases) for place, phrases in seen.items()}
        super().learn(context, captions)

    def edits(self, reading: Reading, rng: random.Random) -> Iterator[Edit]:
        """Some things behind each thing."""
        learned = bool(self._offers)
        for thing in reading.things:
            if thing.head_word in NOT_THINGS or thing.head is None or not is_movable(thing, reading):
                continue
            for joiner in _JOINERS if learned else _JOINERS[:1]:
                if not _has_room(thing, joiner, reading):
                    continue
                for phrase, share, head in self._drawn(thing, joiner, rng) if learned else _unlearned(thing, rng):
                    if self._is_new(head, reading):
                        added = f"{joiner} {_with_article(phrase)}"
                        at = thing.end
                        yield Edit(((at - 1, at, ((at - 1, at), added)),), "", added, share)

    def _drawn(self, thing: NounPhrase, joiner: str, rng: random.Random) -> list[tuple[str, float, Concept]]:
        group = f"[{thing.head.group}]" if thing.head else "[]"
        drawn: dict[str, float] = {}
        for key in (group, thing.head_word):
            offers = self._offers.get((key, joiner))
            if offers is not None:
                drawn.update(offers.draw(rng))
        heads = ((phrase, share, self._named(self._nouns[phrase])) for phrase, share in drawn.items())
        return [(phrase, share, head) for phrase, share, head in heads if head is not None]

    def _named(self, noun: str) -> Concept | None:
        # Looked up anew, since concepts are not the same objects after a worker has read the lexicon again.
        tables = self.lexicon.tables
        entry = tables.words.get(noun)
        if " " in noun:
            words = noun.split()
            entry = next((found for form, found in tables.phrases.get(words[0], ()) if form == words), None)
        return entry.thing if entry else None

    def _is_new(self, head: Concept, reading: Reading) -> bool:
        """Whether nothing in the caption is, may be, or usually brings along the thing that is added."""
        if head.name in reading.names:
            return False
        for other in reading.things:
            if other.head is None:
                continue
            if other.head.group == head.group and head not in other.head.alternatives:
                return False
            if (other.head.name, head.name) in self._usual:
                return False
        return True


def _unlearned(thing: NounPhrase, rng: random.Random) -> list[tuple[str, float, Concept]]:
    if thing.head is None or not thing.head.alternatives:
        return []
    other = rng.choice(thing.head.alternatives)
    return [(f"a {other.name}" if other.number == "count" else other.name, 0.0, other)]


def _has_room(thing: NounPhrase, joiner: str, reading: Reading) -> bool:
    words, tokens = reading.words, reading.caption.tokens
    before = words[thing.start - 1] if thing.start else ""
    behind = words[thing.end] if thing.end < len(words) else ""
    if behind in ("and", "or", ",", joiner.partition(" ")[0]) or before in ("and", "or", ",", "between", joiner):
        return False
    if joiner != "and":
        return before != joiner.rpartition(" ")[2]
    # "a cat and a dog is" would not agree
    return not any(token.tag in ("VBZ", "VBP") for token in tokens[thing.end : thing.end + _CLAUSE])


def _with_article(phrase: str) -> str:
    first, _, rest = phrase.partition(" ")
    return f"{article(rest)} {rest}" if first in ("a", "an") and rest else phrase
