"""Replaces a relation or an action: "a dog under a table" becomes "a dog on top of a table"."""

from __future__ import annotations

import random

from lightning_cr.negatives.text.base import AnnotatedCaption, Negative, TextRule
from lightning_cr.negatives.text.lexicon import Concept, Link
from lightning_cr.negatives.text.reading import NounPhrase, Reading, Relation, read
from lightning_cr.negatives.text.rewriting import raw, rewrite, rotated

__all__ = ["ReplaceRelation"]

_CARRIED_ALONG = frozenset(("in", "with", "wearing", "on"))
_PARTICIPLES = frozenset(("VBN", "VBD"))


class ReplaceRelation(TextRule):
    """Puts another relation between the same things, or another action in the place of one.

    Args:
        fallback: Whether to take what the lexicon marks as a last resort ("with" becomes "without") where no other
            relation of the caption can be replaced.
    """

    def __init__(self, *, fallback: bool = True) -> None:
        self.fallback = fallback

    def __call__(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Negative | None:
        """See :class:`TextRule`."""
        reading = read(caption, self.lexicon)
        last_resort: tuple[Relation, Link] | None = None
        for relation in rotated(reading.relations, rng):
            link = _fitting(relation, reading)
            if link is None:
                continue
            if not link.fallback:
                return _replace(relation, link, reading, kind, rng)
            last_resort = last_resort or (relation, link)
        return _replace(*last_resort, reading, kind, rng) if last_resort and self.fallback else None


def _replace(relation: Relation, link: Link, reading: Reading, kind: str, rng: random.Random) -> Negative | None:
    start, end = relation.start, relation.end
    choices = [other for other in link.instead if other not in reading.words]
    if not choices:
        return None
    new = rng.choice(choices)
    return rewrite(reading.caption, [(start, end, new)], kind, raw(reading.caption, start, end), new)


def _fitting(relation: Relation, reading: Reading) -> Link | None:
    """The first rule of the lexicon that fits what stands around the relation."""
    links = relation.entry.links
    tokens = reading.caption.tokens
    start, end = relation.start, relation.end
    # "about to hit": taggers cannot tell the infinitive from the past of such verbs.
    tag = "VB" if start and reading.words[start - 1] == "to" else tokens[start].tag
    found = links.get(tag, ()) + links.get("", ())
    if not found:
        return None
    if reading.words[start] == "by" and start and tokens[start - 1].tag in _PARTICIPLES:
        return None  # "followed by a dog" says who does it, not where
    following: NounPhrase | None = None
    before: NounPhrase | None = None
    for thing in reading.things:
        if thing.end <= start:
            # "a man in a hat sitting": the hat does not sit
            carried = before is not None and thing.start and reading.words[thing.start - 1] in _CARRIED_ALONG
            before = before if carried else thing
        elif thing.start == end:
            following = thing
    for link in found:
        if link.manner != "phrases" and (following is None) == (link.manner in ("prepositions", "transitive")):
            continue
        if link.before is not None and (following is None or not _among(following.head, link.before)):
            continue
        if link.subject is not None and (before is None or not _among(before.head, link.subject)):
            continue
        return link
    return None


def _among(concept: Concept | None, names: frozenset[str]) -> bool:
    return concept is not None and (concept.group in names or concept.name in names)
