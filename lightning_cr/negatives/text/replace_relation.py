"""Replaces a relation or an action: "a dog under a table" becomes "a dog on top of a table"."""

from __future__ import annotations

from collections.abc import Iterable

from lightning_cr.negatives.text.candidates import Candidate, relations
from lightning_cr.negatives.text.reading import Reading
from lightning_cr.negatives.text.replacing import ReplacingRule

__all__ = ["ReplaceRelation"]


class ReplaceRelation(ReplacingRule):
    """Puts another relation between the same things, or another action in the place of one.

    Args:
        fallback: Whether to take what the lexicon marks as a last resort ("with" becomes "without") where no other
            relation of the caption can be replaced.
        reluctance: As of :class:`ReplacingRule`.
    """

    def __init__(self, *, fallback: bool = True, reluctance: float = 0.0) -> None:
        super().__init__(reluctance=reluctance)
        self.fallback = fallback

    def candidates(self, reading: Reading) -> Iterable[Candidate]:
        """The relations and actions."""
        return (one for one in relations(reading) if self.fallback or not one.last_resort)
