"""What of a caption a language model may be asked to fill in, and which of its words may be taken.

Where the lexicon knows what stands there, it says what excludes it, and the model only chooses. Where it does not, the
paper's way is to take whatever the model finds likely; that is left to those who ask for it, since "fluffy" and "wet"
may both be true.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lightning_cr.negatives.text.assertions import NO_QUALITIES, OPINIONS
from lightning_cr.negatives.text.base import AnnotatedCaption
from lightning_cr.negatives.text.candidates import Role, attributes, excludes, relations
from lightning_cr.negatives.text.fills import Fill
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.morphology import lemma
from lightning_cr.negatives.text.reading import NounPhrase, Reading, read
from lightning_cr.negatives.text.rewriting import rewrite
from lightning_cr.negatives.text.swapping import NOT_THINGS
from lightning_cr.negatives.text.tagging import Tagger
from lightning_cr.negatives.text.wordnet import Pos, WordNet

__all__ = ["Filling", "Place"]

_VERBS = frozenset(("VB", "VBZ", "VBP", "VBG", "VBD", "VBN"))
_NO_ACTIONS = frozenset(
    word
    for line in (
        "is are was were be been being am has have had having do does did doing can could may might will would",
        "seem seems look looks looking get gets getting show shows showing shown appear appears contain contains",
    )
    for word in line.split()
)
_POS: dict[Role, Pos] = {"object": "n", "attribute": "a", "relation": "v"}
_ONE = frozenset(("a", "an", "another", "this", "each"))
_JOINERS = ("-", "'", "/", "_")
_LONGEST = 1 << 16  # characters, which the file of fills can count


@dataclass(slots=True, eq=False)
class Place:
    """A stretch of a caption that can be masked.

    Attributes:
        reading: The caption.
        role: What stands there.
        start: First token.
        end: One past the last token.
        listed: What the lexicon lets stand there instead; None where it does not know what stands there.
        thing: Of an object that the lexicon knows.
    """

    reading: Reading
    role: Role
    start: int
    end: int
    listed: frozenset[str] | None = None
    thing: NounPhrase | None = None

    @property
    def span(self) -> tuple[int, int]:
        """First character and one past the last."""
        tokens = self.reading.caption.tokens
        return tokens[self.start].start, tokens[self.end - 1].end

    def masked(self, mask: str) -> str | None:
        """The caption with a mask in the place, or None where no word begins and ends there ("t-shirt/jacket")."""
        text, (start, end) = self.reading.caption.text, self.span
        if (start and not text[start - 1].isspace()) or text[end : end + 1].startswith(_JOINERS):
            return None
        return text[:start] + mask + text[end:]


class Filling:
    """The places of captions, and the guards.

    Args:
        lexicon: What is known of words.
        roles: What may be replaced.
        unknown: Whether words that the lexicon does not know are replaced too, by others that it need not know. A word
            must then keep the tag that the tagger gives, and be none that the caption has, in whatever form.
        tagger: Judges those.
        wordnet: If given, no synonym, wider or narrower word is put in; where the lexicon lists what excludes a word,
            WordNet is not asked.
        most: How many words are taken for a place.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        roles: Sequence[Role],
        tagger: Tagger,
        *,
        unknown: bool = False,
        wordnet: WordNet | None = None,
        most: int = 5,
    ) -> None:
        self.lexicon = lexicon
        self.roles = tuple(roles)
        self.unknown = unknown
        self.wordnet = wordnet
        self.most = most
        self._tagger = tagger

    def places(self, caption: AnnotatedCaption) -> list[Place]:
        """All that can be masked, in no order that means anything.

        Args:
            caption: An annotated caption.
        """
        if len(caption.text) >= _LONGEST:
            return []
        reading = read(caption, self.lexicon)
        found = [*self._objects(reading), *self._listed(reading), *(self._strange(reading) if self.unknown else ())]
        return [place for place in found if place.role in self.roles]

    def fill(self, place: Place, words: Sequence[str]) -> Fill | None:
        """The first words that pass the guards.

        Args:
            place: Where they are put in.
            words: Whole words in lower case, likeliest first.

        Returns:
            None where no word does.
        """
        taken: list[str] = []
        for word in words:
            if self.admits(place, word):
                taken.append(word)
                if len(taken) == self.most:
                    break
        return Fill(place.role, *place.span, tuple(taken)) if taken else None

    def admits(self, place: Place, word: str) -> bool:
        """Whether a word makes the caption false as far as its text tells, and keeps it English."""
        if word in place.reading.words:
            return False
        if place.listed is not None:
            return word in place.listed
        return self._stands_in(place, word) if place.thing is not None else self._is_other(place, word)

    def _objects(self, reading: Reading) -> Iterator[Place]:
        for thing in reading.things:
            misread = thing.plural and thing.determiner in _ONE  # "a helmet skateboards"
            if thing.head is not None and not misread:
                yield Place(reading, "object", thing.core, thing.end, None, thing)

    def _listed(self, reading: Reading) -> Iterator[Place]:
        for one in (*attributes(reading), *relations(reading)):
            if one.wordings and not one.last_resort:
                yield Place(reading, one.role, one.start, one.end, frozenset(one.wordings))

    def _strange(self, reading: Reading) -> Iterator[Place]:
        """Words that the lexicon does not know at all."""
        known, words, tokens = self.lexicon.tables.words, reading.words, reading.caption.tokens
        for thing in reading.things:
            if (
                thing.head is None
                and thing.head_start == thing.core
                and thing.head_word not in NOT_THINGS | known.keys()
            ):
                yield Place(reading, "object", thing.core, thing.end)
            first = thing.start + 1 if thing.determiner else thing.start
            for at in range(first, thing.core):
                if tokens[at].tag == "JJ" and _is_quality(words[at]) and words[at] not in known:
                    yield Place(reading, "attribute", at, at + 1)
        for at, token in enumerate(tokens):
            strange = token.tag in _VERBS and words[at] not in known and words[at] not in _NO_ACTIONS
            if strange and not any(thing.start <= at < thing.end for thing in reading.things):
                yield Place(reading, "relation", at, at + 1)

    def _stands_in(self, place: Place, word: str) -> bool:
        """Whether the lexicon knows a word as a thing that the place's thing is not."""
        thing, reading = place.thing, place.reading
        entry = self.lexicon.tables.words.get(word)
        if thing is None or thing.head is None or entry is None or entry.thing is None:
            return False
        other, genders = entry.thing, reading.genders
        if word not in (other.plurals if thing.plural else other.wordings) or other.number != thing.head.number:
            return False
        # "a man and his dog": neither a woman nor a bench
        gendered = genders and (other.gender or thing.head.gender)
        if other.name in reading.names or (gendered and other.gender not in genders):
            return False
        return excludes(thing.head, other, self.lexicon.tables.kinds) and not self._relates(thing.head_word, word, "n")

    def _is_other(self, place: Place, word: str) -> bool:
        """Whether a word is, for all that tagger and WordNet say, another one than any of the caption's."""
        caption = place.reading.caption
        old = caption.tokens[place.start]
        if (place.role == "attribute" and not _is_quality(word)) or word in _NO_ACTIONS or word in NOT_THINGS:
            return False
        base = lemma(word, old.tag)
        if any(lemma(token.text, token.tag) == base for token in caption.tokens):
            return False
        if self._relates(old.text, word, _POS[place.role]):
            return False
        edited = rewrite(caption, [(place.start, place.end, word)], "", old.text, word)
        return edited is not None and self._tagger.annotate(edited.text).tokens[place.start].tag == old.tag

    def _relates(self, old: str, new: str, pos: Pos) -> bool:
        wordnet = self.wordnet
        return wordnet is not None and (wordnet.are_synonyms(old, new, pos) or wordnet.is_hypernym(old, new, pos))


def _is_quality(word: str) -> bool:
    """Whether it says what a picture shows."""
    return word not in NO_QUALITIES and word not in OPINIONS
