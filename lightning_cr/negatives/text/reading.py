"""What a caption says, as far as the lexicon knows: noun phrases, qualities and relations with their places.

A caption is cut into *units* (the longest phrases that the lexicon knows, single words otherwise), which one pass from
left to right groups into noun phrases. No regular expressions and no grammar beyond that: it has to cost microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lightning_cr.negatives.text.base import AnnotatedCaption
from lightning_cr.negatives.text.lexicon import Concept, Entry, Lexicon, Tables

__all__ = ["NounPhrase", "Quality", "Reading", "Relation", "are_alike", "read", "says_the_same_swapped"]

_NOUN = frozenset(("NN", "NNS", "NNP", "NNPS"))
_ADJECTIVE = frozenset(("JJ", "JJR", "JJS"))
_DETERMINER = frozenset(("DT", "PRP$"))
_QUALITY = frozenset(("JJ", "JJR", "JJS", "VBN", "VBD", "VBG", "CD", "NN", "NNP", "RB", "VB"))
_MODIFIER_INSIDE = frozenset(("VBN", "VBG", "VBD", "RB", "RBR", "RBS"))
_BE = frozenset(("is", "are", "was", "were"))
_RELATING = frozenset(("IN", "TO", "RP", "RB", "RBR", "VB", "VBZ", "VBP", "VBG", "VBD", "VBN"))
_JOINS_CLAUSES = frozenset(
    (",", ".", ";", ":", "and", "or", "while", "that", "who", "which", "as", "but", "where", "when")
)
_SHADES = frozenset(("light", "dark", "bright", "pale"))


@dataclass(slots=True, eq=False)
class Quality:
    """A word that says how a thing is.

    Attributes:
        start: First token.
        end: One past the last token.
        concepts: What it may be, in the order of the lexicon.
    """

    start: int
    end: int
    concepts: tuple[Concept, ...]


@dataclass(slots=True, eq=False)
class NounPhrase:
    """A thing as the caption names it ("a large wooden kitchen table").

    Attributes:
        start: First token, the determiner included.
        core: First token of the noun or compound ("kitchen").
        end: One past the last token.
        determiner: Lower case, or empty.
        qualities: What the lexicon knows of the words before the noun, and behind "is".
        modifiers: All words between determiner and noun, lower case.
        head: What it is, or None where the lexicon does not know the noun.
        head_word: The noun or phrase that names it, lower case.
        head_start: First token of that noun or phrase.
        plural: Whether there are several.
    """

    start: int
    core: int
    end: int
    determiner: str
    qualities: list[Quality]
    modifiers: tuple[str, ...]
    head: Concept | None
    head_word: str
    head_start: int
    plural: bool


@dataclass(slots=True, eq=False)
class Relation:
    """A preposition or verb that the lexicon can replace.

    Attributes:
        start: First token.
        end: One past the last token.
        entry: What the lexicon knows of it.
    """

    start: int
    end: int
    entry: Entry


@dataclass(slots=True, eq=False)
class Reading:
    """All that the rules look at.

    Attributes:
        caption: What was read.
        words: Its tokens, lower case.
        things: Noun phrases in order.
        relations: Prepositions and verbs in order.
        names: Canonical names of all concepts it mentions, in whatever role: never put in a second time.
        genders: Of its pronouns.
        compounds: First words of compounds ("tennis" of "tennis player") that others can stand for.
    """

    caption: AnnotatedCaption
    words: list[str]
    things: list[NounPhrase]
    relations: list[Relation]
    names: set[str]
    genders: set[str]
    compounds: list[Quality]


def are_alike(first: NounPhrase, second: NounPhrase) -> bool:
    """Whether two phrases may name the same sort of thing: same word, synonyms, or one the wider word."""
    if first.head_word == second.head_word:
        return True
    if first.head is None or second.head is None or first.head.group != second.head.group:
        return False
    return second.head not in first.head.alternatives


def says_the_same_swapped(first: NounPhrase, second: NounPhrase, reading: Reading, symmetric: frozenset[str]) -> bool:
    """Whether "first ... second" may stay true when the two change places.

    What counts is the relation right before the second: "next to" is symmetric, whoever stands or sits. Where it is not
    clear that a relation joins the two (a comma, two clauses), the answer is yes.
    """
    words, tokens = reading.words, reading.caption.tokens
    begin, end = first.end, second.start
    if begin >= end or tokens[end - 1].tag not in _RELATING:
        return True
    for word in words[begin:end]:
        if word in _JOINS_CLAUSES:
            return True
    return any(" ".join(words[at:end]) in symmetric for at in range(max(begin, end - 3), end))


_last: tuple[AnnotatedCaption, Lexicon, Reading] | None = None


def read(caption: AnnotatedCaption, lexicon: Lexicon) -> Reading:
    """Reads a caption.

    The rules of one door read the same caption one after the other, so the last reading is kept.
    """
    global _last
    last = _last
    if last is not None and last[0] is caption and last[1] is lexicon:
        return last[2]
    reading = _Reader(caption, lexicon.tables).read()
    _last = (caption, lexicon, reading)
    return reading


def _all_qualities(reading: Reading) -> Iterator[Quality]:
    return (quality for thing in reading.things for quality in thing.qualities)


class _Reader:
    """One pass; the noun phrase that is being built is held in ``start`` ... ``nouns``."""

    def __init__(self, caption: AnnotatedCaption, tables: Tables) -> None:
        self.tokens = caption.tokens
        self.tables = tables
        self.words = [token.text.lower() for token in caption.tokens]
        self.reading = Reading(caption, self.words, [], [], set(), set(), [])
        self.start = -1
        self.determiner = ""
        self.qualities: list[Quality] = []
        self.nouns: list[tuple[int, int, Entry | None]] = []

    def read(self) -> Reading:
        tokens, words, tables, reading = self.tokens, self.words, self.tables, self.reading
        count = len(words)
        lookup, phrases = tables.words.get, tables.phrases
        at = 0
        while at < count:
            word = words[at]
            entry = lookup(word)
            end = at + 1
            several = word in phrases
            if several:
                for form, found in phrases[word]:
                    if words[at : at + len(form)] == form:
                        entry, end = found, at + len(form)
                        break
            if entry is not None:
                reading.names.update(entry.names)
            self._unit(at, end, entry, tokens[end - 1].tag)
            at = end
        self._close(count)
        pronouns = tables.pronouns
        reading.genders = {pronouns[word] for word in words if word in pronouns}
        compounds = tables.compounds
        if compounds:
            for at in range(1, count):
                firsts = compounds.get(words[at])
                # "train station wagon", "dining room table": the last noun says what the thing is
                if firsts is not None and (at + 1 == count or tokens[at + 1].tag not in _NOUN):
                    concept = firsts.get(words[at - 1])
                    if concept is not None and not any(q.start < at <= q.end for q in _all_qualities(reading)):
                        reading.compounds.append(Quality(at - 1, at, (concept,)))
        return reading

    def _unit(self, at: int, end: int, entry: Entry | None, tag: str) -> None:
        if entry is None:
            if tag in _DETERMINER:
                self._close(at)
                self.start, self.determiner = at, self.words[at]
            elif tag in _NOUN:
                self._noun(at, end, None)
            elif tag in _ADJECTIVE or tag == "CD":
                if self.nouns:
                    self._close(at)
                if self.start < 0:
                    self.start = at
            elif not (self._inside() and (tag in _MODIFIER_INSIDE or self._joins(at))):
                self._close(at)
            return
        phrase = end - at > 1
        if entry.fixed:
            self._close(at)
        elif entry.thing is not None and (tag in _NOUN or phrase) and not self._is_material(entry, end):
            self._noun(at, end, entry)
        elif entry.qualities and (tag in _QUALITY or phrase) and self._is_quality(at, end, entry, tag):
            if self.nouns:
                self._close(at)
            if self.start < 0:
                self.start = at
            # "dark red": the first word is a shade of the second.
            if self.words[at] not in _SHADES or end == len(self.words) or self.tokens[end].tag not in _ADJECTIVE:
                self.qualities.append(Quality(at, end, entry.qualities))
        elif entry.links and (phrase or tag not in _NOUN):
            self._close(at)
            self.reading.relations.append(Relation(at, end, entry))
        elif tag in _NOUN:
            self._noun(at, end, entry if entry.thing is not None else None)
        elif tag in _ADJECTIVE or tag == "CD":
            if self.nouns:
                self._close(at)
            if self.start < 0:
                self.start = at
        else:
            self._close(at)

    def _inside(self) -> bool:
        """Whether a noun phrase is open and its noun still to come."""
        return self.start >= 0 and not self.nouns

    def _joins(self, at: int) -> bool:
        """Whether a comma or "and" stands between two qualities of one thing ("a black and white cat")."""
        if self.words[at] not in (",", "and") or not self.qualities or at + 1 >= len(self.words):
            return False
        following = self.tables.words.get(self.words[at + 1])
        return following is not None and bool(following.qualities) and self.tokens[at + 1].tag in _ADJECTIVE

    def _is_material(self, entry: Entry, end: int) -> bool:
        """Whether a noun says what the next noun is like ("glass vase", "orange cat")."""
        return bool(entry.qualities) and end < len(self.words) and self.tokens[end].tag in _NOUN and not self.nouns

    def _is_quality(self, at: int, end: int, entry: Entry, tag: str) -> bool:
        if tag in ("NN", "NNP"):
            return end < len(self.words) and self.tokens[end].tag in _NOUN and not self.nouns
        if entry.links or tag in ("VBG", "VBD", "VB"):  # "parked cars", but "cars parked on ..."
            following = self.tokens[end].tag if end < len(self.words) else ""
            return not self.nouns and (following in _NOUN or following in _ADJECTIVE)
        return True

    def _noun(self, at: int, end: int, entry: Entry | None) -> None:
        if self.nouns and self.nouns[-1][2] is not None and self.nouns[-1][2].plural:
            self._close(at)  # a plural ends its phrase
        if self.start < 0:
            self.start = at
        self.nouns.append((at, end, entry))

    def _close(self, at: int) -> None:
        """Ends the open noun phrase before a token."""
        if self.start < 0:
            return
        if self.nouns:
            core = self.nouns[0][0]
            head_start, end, entry = self.nouns[-1]
            first = self.start + 1 if self.determiner else self.start
            words = self.words
            head_word = words[head_start] if end - head_start == 1 else " ".join(words[head_start:end])
            modifiers = tuple(words[first:core])
            thing = None if entry is None else entry.thing
            plural = self._is_plural(entry, end, modifiers)
            phrase = NounPhrase(
                self.start, core, end, self.determiner, self.qualities, modifiers, thing, head_word, head_start, plural
            )
            self.reading.things.append(phrase)
            self.nouns = []
            self.qualities = []
        elif self.qualities:
            # "the cat is black": said of the last thing
            if self.start and self.words[self.start - 1] in _BE and self.reading.things:
                self.reading.things[-1].qualities += self.qualities
            self.qualities = []
        self.start = -1
        self.determiner = ""

    def _is_plural(self, entry: Entry | None, end: int, modifiers: tuple[str, ...]) -> bool:
        if entry is None or entry.thing is None:
            return self.tokens[end - 1].tag in ("NNS", "NNPS")
        if entry.plural is None:  # "sheep"
            single = self.determiner in ("a", "an", "another", "this", "each", "one")
            return not single and "single" not in modifiers and "one" not in modifiers
        return entry.plural
