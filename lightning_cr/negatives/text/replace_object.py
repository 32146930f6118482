"""Replaces a thing by another of its group: "a cat on a couch" becomes "a dog on a couch"."""

from __future__ import annotations

import random

from lightning_cr.negatives.text.base import AnnotatedCaption, Negative, TextRule
from lightning_cr.negatives.text.lexicon import Concept
from lightning_cr.negatives.text.reading import NounPhrase, Reading, read
from lightning_cr.negatives.text.rewriting import raw, rewrite, rotated

__all__ = ["ReplaceObject"]


class ReplaceObject(TextRule):
    """Puts another thing of the same kind in the place of one.

    The whole compound goes ("police car" becomes "bus"); number is kept; what the caption already names is never put
    in, and people keep the gender of the pronouns that stay.
    """

    def __call__(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Negative | None:
        """See :class:`TextRule`."""
        reading = read(caption, self.lexicon)
        for thing in rotated(reading.things, rng):
            choices = _choices(thing, reading)
            if choices:
                chosen = rng.choice(choices)
                new = chosen.plural if thing.plural else chosen.name
                old = raw(caption, thing.core, thing.end)
                return rewrite(caption, [(thing.core, thing.end, new)], kind, old, new)
        return None


def _choices(thing: NounPhrase, reading: Reading) -> list[Concept]:
    head = thing.head
    if head is None or (head.number != "count" and thing.determiner in ("a", "an")):
        return []
    genders, names = reading.genders, reading.names
    return [
        other
        for other in head.alternatives
        if other.name not in names and not (genders and other.gender and other.gender not in genders)
    ]
