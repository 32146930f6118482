"""Replaces a thing by another of its group: "a cat on a couch" becomes "a dog on a couch"."""

from __future__ import annotations

from collections.abc import Iterable

from lightning_cr.negatives.text.candidates import Candidate, objects
from lightning_cr.negatives.text.reading import Reading
from lightning_cr.negatives.text.replacing import ReplacingRule

__all__ = ["ReplaceObject"]


class ReplaceObject(ReplacingRule):
    """Puts another thing of the same kind in the place of one.

    The whole compound goes ("police car" becomes "bus"); number is kept; what the caption already names is never put
    in, and people keep the gender of the pronouns that stay. Options: :class:`FluentRule`.
    """

    settled = True
    listed = 8

    def __init__(self, *, coverage: float = 0.96) -> None:
        super().__init__(coverage=coverage)

    def candidates(self, reading: Reading) -> Iterable[Candidate]:
        """The things."""
        return objects(reading, self.lexicon.unlisted)
