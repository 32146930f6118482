"""What of a caption can be replaced, and by what: the things, qualities and relations that the lexicon knows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from lightning_cr.negatives.text.lexicon import Concept, Link, Unlisted
from lightning_cr.negatives.text.reading import NounPhrase, Quality, Reading, Relation

__all__ = ["Candidate", "Role", "attributes", "candidates", "excludes", "objects", "relations", "worth_replacing"]

Role = Literal["object", "attribute", "relation"]

_WIDE = frozenset(("animal", "areas", "body", "persons", "shapes", "stuff", "venues"))
"""Groups with members that may be of another group: a machine is a car, a penguin a bird, a stadium a building."""

_CARRIED_ALONG = frozenset(("in", "with", "wearing", "on"))
_PARTICIPLES = frozenset(("VBN", "VBD"))


@dataclass(slots=True, eq=False)
class Candidate:
    """One concept of a caption with what may stand in its place.

    Attributes:
        role: What it is.
        start: First token.
        end: One past the last token.
        tags: Of its tokens, as the reading takes them: the head of a compound is a noun whatever the tagger said.
        choices: What may be put in, inflected as the original; one word for each concept, and perhaps none.
        wordings: The same with all the words for each concept, for those who know which of them fits.
        last_resort: Whether it is only to be replaced where nothing else can be ("with" becomes "without").
        phrase: One past the last token of the phrase that is exchanged with it, if that is longer: "two dogs" and "a
            group of dogs" are of one part of speech, "two" and "a group of" are not.
    """

    role: Role
    start: int
    end: int
    tags: tuple[str, ...]
    choices: tuple[str, ...]
    wordings: tuple[str, ...]
    last_resort: bool = False
    phrase: int = 0


def candidates(reading: Reading, unlisted: Unlisted | None = None) -> list[Candidate]:
    """All concepts of a caption that can be replaced: things, then qualities, then relations."""
    return [one for one in (*objects(reading, unlisted), *attributes(reading), *relations(reading)) if one.choices]


def worth_replacing(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those with a choice; what is a last resort only where there is nothing else."""
    found = [candidate for candidate in candidates if candidate.choices]
    return [candidate for candidate in found if not candidate.last_resort] or found


def objects(reading: Reading, unlisted: Unlisted | None = None) -> Iterator[Candidate]:
    """The things: a whole compound ("police car") each.

    Number is kept; what the caption already names is never put in, and people keep the gender of pronouns that stay.

    Args:
        reading: The caption.
        unlisted: What may be put in for nouns that the lexicon does not know; see :attr:`Lexicon.unlisted`.
    """
    tokens = reading.caption.tokens
    for thing in reading.things:
        if thing.head is None and unlisted:
            choices = wordings = _unlisted(thing, reading, unlisted)
        else:
            others = _others(thing, reading)
            choices = tuple([other.plural if thing.plural else other.name for other in others])
            wordings = tuple([word for other in others for word in (other.plurals if thing.plural else other.wordings)])
        tags = [token.tag for token in tokens[thing.core : thing.end]]
        if thing.plural or tags[-1] not in ("NN", "NNP"):
            tags[-1] = "NNS" if thing.plural else "NN"
        yield Candidate("object", thing.core, thing.end, tuple(tags), choices, wordings)


def attributes(reading: Reading, counts: bool = True) -> Iterator[Candidate]:
    """The qualities of things; a word that may be two ("old": of a man, of a car) is the first that fits its thing.

    Args:
        reading: The caption.
        counts: Whether to name how many there are.
    """
    for thing in reading.things:
        for quality in thing.qualities:
            concept = next((concept for concept in quality.concepts if concept.fits(thing.head)), None)
            if concept is None or (concept.number == "plural" and not (counts and _counts(quality, thing))):
                continue
            if concept.number == "plural":
                yield _attribute(quality, concept, reading.names, reading, phrase=thing.end)
            else:
                yield _attribute(quality, concept, reading.names, reading, phrase=quality.end)
    for quality in reading.compounds:
        yield _attribute(quality, quality.concepts[0], reading.words, reading, phrase=quality.end + 1)


def _attribute(quality: Quality, concept: Concept, named: Collection[str], reading: Reading, phrase: int) -> Candidate:
    others = [other for other in concept.alternatives if other.name not in named]
    choices, wordings = [other.name for other in others], [word for other in others for word in other.wordings]
    if concept.number == "plural" and not _may_begin(quality, reading):
        choices, wordings = ([name for name in names if not name.endswith(" of")] for names in (choices, wordings))
    start, end = quality.start, quality.end
    return Candidate("attribute", start, end, _tags(quality, reading), tuple(choices), tuple(wordings), phrase=phrase)


def _counts(quality: Quality, thing: NounPhrase) -> bool:
    """Whether a quality says how many, the last word on it: "a group of two dogs" are two."""
    later = (other for other in thing.qualities if other.start > quality.start)
    return thing.plural and not any(other.concepts[0].number == "plural" for other in later)


def _may_begin(quality: Quality, reading: Reading) -> bool:
    """Whether "a group of" may stand there: not in "the two dogs", nor in "a group of two dogs"."""
    if not quality.start:
        return True
    before = reading.caption.tokens[quality.start - 1]
    return before.tag not in ("DT", "PRP$", "JJ", "CD") and before.text != "of"


def relations(reading: Reading) -> Iterator[Candidate]:
    """The relations and actions."""
    for relation in reading.relations:
        link = _fitting(relation, reading)
        choices = tuple([other for other in link.instead if other not in reading.words]) if link else ()
        tags, last_resort = _tags(relation, reading), link is not None and link.fallback
        yield Candidate("relation", relation.start, relation.end, tags, choices, choices, last_resort)


def excludes(concept: Concept, other: Concept, kinds: Mapping[str, frozenset[str]]) -> bool:
    """Whether nothing is both of two things: the lexicon lists them as alternatives, or as of no common kind.

    Args:
        concept: One thing.
        other: Another.
        kinds: Of each group; see :class:`lightning_cr.negatives.text.lexicon.Tables`.
    """
    groups = {concept.group, other.group}
    if len(groups) == 1:
        return other in concept.alternatives
    return groups.isdisjoint(_WIDE) and kinds[concept.group].isdisjoint(kinds[other.group])


def _tags(part: Quality | Relation, reading: Reading) -> tuple[str, ...]:
    return tuple(token.tag for token in reading.caption.tokens[part.start : part.end])


def _others(thing: NounPhrase, reading: Reading) -> list[Concept]:
    head = thing.head
    if head is None or (head.number != "count" and thing.determiner in ("a", "an")):
        return []
    genders, names = reading.genders, reading.names
    return [
        other
        for other in head.alternatives
        if other.name not in names and not (genders and other.gender and other.gender not in genders)
    ]


def _unlisted(thing: NounPhrase, reading: Reading, unlisted: Unlisted) -> tuple[str, ...]:
    words, names = reading.words, reading.names
    # "a scoop of ice cream": what holds is not known to exclude what else could hold
    if thing.head_start != thing.core or (thing.end < len(words) and words[thing.end] == "of"):
        return ()
    found = unlisted.get((thing.head_word, thing.plural), ())
    return tuple([other for other, goes_by in found if not any(one in words or one in names for one in goes_by)])


def _fitting(relation: Relation, reading: Reading) -> Link | None:
    """The first rule of the lexicon that fits what stands around the relation."""
    links = relation.entry.links
    tokens = reading.caption.tokens
    start = relation.start
    # "about to hit": taggers cannot tell the infinitive from the past of such verbs.
    tag = "VB" if start and reading.words[start - 1] == "to" else tokens[start].tag
    found = links.get(tag, ()) + links.get("", ())
    if not found:
        return None
    if reading.words[start] == "by" and start and tokens[start - 1].tag in _PARTICIPLES:
        return None  # "followed by a dog" says who does it, not where
    before, following = _neighbours(relation, reading)
    for link in found:
        if link.manner != "phrases" and (following is None) == (link.manner in ("prepositions", "transitive")):
            continue
        if link.before is not None and (following is None or not _among(following, link.before)):
            continue
        if link.subject is not None and (before is None or not _among(before, link.subject)):
            continue
        return link
    return None


def _neighbours(relation: Relation, reading: Reading) -> tuple[NounPhrase | None, NounPhrase | None]:
    """The thing that a relation is said of, and the thing right behind it."""
    before: NounPhrase | None = None
    following: NounPhrase | None = None
    for thing in reading.things:
        if thing.end <= relation.start:
            # "a man in a hat sitting": the hat does not sit
            carried = before is not None and thing.start and reading.words[thing.start - 1] in _CARRIED_ALONG
            before = before if carried else thing
        elif thing.start == relation.end:
            following = thing
    return before, following


def _among(thing: NounPhrase, names: frozenset[str]) -> bool:
    if thing.head is None:
        return thing.head_word in names
    return thing.head.group in names or thing.head.name in names
