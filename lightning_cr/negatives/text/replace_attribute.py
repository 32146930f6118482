"""Replaces a quality by another of its group: "a red car" becomes "a blue car"."""

from __future__ import annotations

import random

from lightning_cr.negatives.text.base import AnnotatedCaption, Negative, TextRule
from lightning_cr.negatives.text.reading import read
from lightning_cr.negatives.text.rewriting import raw, rewrite, rotated

__all__ = ["ReplaceAttribute"]


class ReplaceAttribute(TextRule):
    """Puts another quality of the same kind in the place of one.

    Args:
        counts: Whether numbers count as qualities ("two dogs" becomes "four dogs").
    """

    def __init__(self, *, counts: bool = True) -> None:
        self.counts = counts

    def __call__(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Negative | None:
        """See :class:`TextRule`."""
        reading = read(caption, self.lexicon)
        found = [(thing, quality) for thing in reading.things for quality in thing.qualities]
        for thing, quality in rotated(found, rng):
            if not self.counts and caption.tokens[quality.start].tag == "CD":
                continue
            head = thing.head
            for concept in quality.concepts:
                if not concept.fits(head):
                    continue
                choices = [other for other in concept.alternatives if other.name not in reading.names]
                if choices:
                    new = rng.choice(choices).name
                    old = raw(caption, quality.start, quality.end)
                    return rewrite(caption, [(quality.start, quality.end, new)], kind, old, new)
                break
        return None
