"""Says how a thing is that the caption does not: "a cat on a bed" becomes "a black cat on a bed"."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from lightning_cr.negatives.text.adding import AddingRule, Place, entry_of
from lightning_cr.negatives.text.assertions import NO_QUALITIES, OPINIONS, UNSHOWN
from lightning_cr.negatives.text.base import AnnotatedCaption
from lightning_cr.negatives.text.context import CorpusContext
from lightning_cr.negatives.text.lengths import Addition
from lightning_cr.negatives.text.lexicon import Concept
from lightning_cr.negatives.text.offers import Offers, mixed
from lightning_cr.negatives.text.reading import NounPhrase, Reading, read
from lightning_cr.negatives.text.swapping import NOT_THINGS

__all__ = ["AddAttribute"]

_LIKELY = 0.2
"""Share of a quality among those of its kind that are said of a thing, from which on it may well be true unsaid."""

_RARE = 0.02
"""Share of a thing's mentions up to which a word is added that the lexicon does not know, and whose kind nobody can
tell; those that are said of a thing more often may hold for many of which they are not said."""

_SILENT = 50
"""Mentions of a thing from which on a kind of quality that none names goes without saying (the colour of snow)."""

_PRIOR = 4.0
"""Mentions of a quality that what is said of all things of a sort is worth against what is said of one."""

_STATE = "state"
_UNKNOWN = "unknown"
_COMPOUND = "compound"
_DESCRIBES = frozenset(("JJ", "VBN", "VBG"))
_JOINS = frozenset(("of", "and", ",", "-"))
_BEHIND_STATES = frozenset(("IN", "RB", "TO", "RP"))
_COLOURS = ("colours", "two_colours")
_CLAUSE = 6
"""Words behind a thing among which its verb is looked for."""

_VAGUE = frozenset(
    ("colored", "coloured", "dressed", "haired", "cooked", "wild", "looking", "assorted", "designed", "flavored")
)
"""Words that say little without more words, or that hold for most of the things of which they are said."""

_WITHHELD = NO_QUALITIES | OPINIONS | _VAGUE

_Quality = tuple[str, tuple[str, ...]]
"""A word or phrase, and the kinds of quality that it may be of."""


class AddAttribute(AddingRule):
    """SugarCrepe's add_att: puts a quality before the noun of a thing.

    It is one that the lexicon knows to fit the thing, of a kind of which the caption says nothing for that thing. Once
    it has learned from a corpus, it is one that is said of such things there, but not one that may well be true unsaid
    ("a young man", "green grass"). It may then also be a state ("a cat sleeping on a bed") or the first word of a
    compound ("a school bus"). Options: :class:`FluentRule`.
    """

    settled = True

    def __init__(self, *, coverage: float = 0.15) -> None:
        super().__init__(coverage=coverage)
        self._states: dict[str, Offers[_Quality]] = {}

    def learn(self, context: CorpusContext, captions: Sequence[AnnotatedCaption]) -> None:
        """See :class:`FluentRule`."""
        nouns: dict[str, NounPhrase] = {}
        mentions: Counter[str] = Counter()
        said: dict[tuple[str, str], Counter[str]] = {}
        kinds_of: dict[str, dict[str, None]] = {}
        for caption in captions:
            reading = read(caption, self.lexicon)
            for thing in reading.things:
                if thing.head is None:
                    continue
                nouns.setdefault(thing.head_word, thing)
                mentions[thing.head.name] += 1
                for word, kind in self._said_of(thing, reading):
                    for level in (thing.head.name, f"[{thing.head.group}]"):
                        kinds_of.setdefault(level, {})[kind] = None
                        said.setdefault((level, kind), Counter())[word] += 1
        self._offers, self._states = {}, {}
        for noun, thing in nouns.items():
            if thing.head is None:
                continue
            name, group = thing.head.name, f"[{thing.head.group}]"
            found: dict[_Quality, float] = {}
            states: dict[_Quality, float] = {}
            for kind in kinds_of.get(group, ()):
                own, wide = said.get((name, kind), Counter()), said[group, kind]
                if kind == _UNKNOWN:
                    most = _RARE * mentions[name]
                    found.update({(word, (kind,)): count for word, count in own.items() if 1 < count <= most})
                    continue
                if not own and kind != _STATE and mentions[name] >= _SILENT:
                    continue
                of = {word: self._kinds(word, thing) if kind != _STATE else (kind,) for word in wide}
                shares = {word: share for word, share in mixed(own, wide, _PRIOR).items() if kind in of[word]}
                most = _LIKELY * sum(shares.values())
                offers = states if kind == _STATE else found
                offers.update({(word, of[word]): share for word, share in shares.items() if share <= most})
            self._offers[noun], self._states[noun] = Offers(found), Offers(states)
        super().learn(context, captions)

    def places(self, reading: Reading) -> Iterator[Place]:
        """Before the noun of each thing, and behind it where nothing says what it does."""
        for thing in self._things(reading):
            offers = self._offers.get(thing.head_word)
            if offers is None:
                continue
            yield thing.core, offers, _admitted(thing, reading)
            if _is_idle(thing, reading):
                yield thing.end, self._states[thing.head_word], _any

    def unlearned(self, reading: Reading, rng: random.Random) -> Iterator[Addition]:
        """A quality of each thing."""
        for thing in self._things(reading):
            fitting = [word for word in self._words if self._fits(word, thing)]
            if fitting:
                yield Addition(thing.core, rng.choice(fitting))

    def _things(self, reading: Reading) -> Iterator[NounPhrase]:
        """Those of which something can be said."""
        words = reading.words
        for thing in reading.things:
            behind = words[thing.end] if thing.end < len(words) else ""
            if thing.head_word in NOT_THINGS or thing.head is None or behind == "of":
                continue
            # "a an animal": whichever was meant
            if not thing.start or words[thing.start - 1] not in ("a", "an"):
                yield thing

    def _said_of(self, thing: NounPhrase, reading: Reading) -> Iterator[tuple[str, str]]:
        """What a caption says of a thing, each with its kind."""
        words, tokens = reading.words, reading.caption.tokens
        known: set[int] = set()
        for quality in thing.qualities:
            if quality.end <= thing.core:
                known.update(range(quality.start, quality.end))
                word = " ".join(words[quality.start : quality.end])
                concept = next((concept for concept in quality.concepts if concept.fits(thing.head)), None)
                if concept is not None and self._may_add(word):
                    yield word, concept.group
        for quality in reading.compounds:
            if thing.start <= quality.start < thing.head_start:
                yield words[quality.start], _COMPOUND
        for at in range(thing.start, thing.core):
            word = words[at]
            if at in known or tokens[at].tag not in _DESCRIBES or not word.isalpha() or words[at + 1] in _JOINS:
                continue
            entry = entry_of(word, self.lexicon.tables)
            if (entry is None or not (entry.qualities or entry.thing)) and self._may_add(word):
                yield word, _UNKNOWN
        end = thing.end
        if end + 1 < len(words) and tokens[end].tag in ("VBG", "VBN") and thing.head is not None:
            goes_on = tokens[end + 1].tag in _BEHIND_STATES or words[end + 1] in (".", "next")
            if goes_on and words[end] not in _VAGUE and self._can_do(words[end], tokens[end].tag, thing.head):
                yield words[end], _STATE

    def _can_do(self, word: str, tag: str, head: Concept) -> bool:
        """Whether the lexicon knows a participle as something that the thing does, or how it is placed."""
        entry = self.lexicon.tables.words.get(word)
        return entry is not None and any(
            link.manner == "intransitive"
            and (link.subject is None or not link.subject.isdisjoint((head.group, head.name)))
            for link in entry.links.get(tag, ())
        )

    def _kinds(self, word: str, thing: NounPhrase) -> tuple[str, ...]:
        """Of what kinds a word is before a noun, as a quality or as the first word of a compound."""
        tables = self.lexicon.tables
        entry = entry_of(word, tables)
        fitting = tuple(concept.group for concept in entry.qualities if concept.fits(thing.head)) if entry else ()
        return fitting or ((_COMPOUND,) if word in tables.compounds.get(thing.head_word, {}) else ())

    @cached_property
    def _words(self) -> dict[str, tuple[Concept, ...]]:
        """The first names of all qualities that may be added."""
        tables = self.lexicon.tables
        named = {concept.name for entry in tables.words.values() for concept in entry.qualities}
        return {
            name: tables.words[name].qualities for name in sorted(named & tables.words.keys()) if self._may_add(name)
        }

    def _may_add(self, word: str) -> bool:
        entry = entry_of(word, self.lexicon.tables)
        if word in _WITHHELD or (entry is not None and entry.fixed):
            return False
        return entry is None or all(concept.group not in UNSHOWN for concept in entry.qualities)

    def _fits(self, word: str, thing: NounPhrase) -> bool:
        """Whether it can be said of the thing, and nothing of its kind is said already, in whatever words."""
        qualities = self._words[word]
        if word in thing.modifiers:
            return False
        taken = {concept.group for quality in thing.qualities for concept in quality.concepts}
        return any(concept.fits(thing.head) for concept in qualities) and not any(
            concept.group in taken for concept in qualities
        )


def _admitted(thing: NounPhrase, reading: Reading) -> Callable[[_Quality], bool]:
    """Tells whether the caption says nothing of a quality's kind for a thing."""
    taken, modifiers, names = _taken(thing), thing.modifiers, reading.names
    return lambda quality: taken.isdisjoint(quality[1]) and quality[0] not in modifiers and quality[0] not in names


def _any(_: _Quality) -> bool:
    return True


def _taken(thing: NounPhrase) -> set[str]:
    """The kinds of quality of which the caption says something for a thing."""
    taken = {concept.group for quality in thing.qualities for concept in quality.concepts}
    if not taken.isdisjoint(_COLOURS):
        taken.update(_COLOURS)
    if thing.modifiers or thing.core != thing.head_start:
        taken.add(_UNKNOWN)  # it may be another word for what is there
    if thing.core != thing.head_start:
        taken.add(_COMPOUND)
    return taken


def _is_idle(thing: NounPhrase, reading: Reading) -> bool:
    """Whether nothing says what a thing does, and there is room to say it."""
    words, tokens = reading.words, reading.caption.tokens
    end = thing.end
    if any(token.tag.startswith("VB") for token in tokens[max(0, thing.start - 2) : end + _CLAUSE]):
        return False
    return end >= len(words) or tokens[end].tag in _BEHIND_STATES or words[end] in (".", "next")
