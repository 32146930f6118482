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
            relation of the caption can be replaced; after a corpus was learned from, it is weighed like all others.
        coverage: As of :class:`FluentRule`. At more than three quarters the negatives begin to be told without the
            picture: many captions relate nothing but by "with", "on" or "in".
    """

    settled = True

    def __init__(self, *, fallback: bool = True, coverage: float = 0.76) -> None:
        super().__init__(coverage=coverage)
        self.fallback = fallback

    def candidates(self, reading: Reading) -> Iterable[Candidate]:
        """The relations and actions."""
        return (one for one in relations(reading) if self.fallback or not one.last_resort)
