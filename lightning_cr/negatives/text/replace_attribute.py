"""Replaces a quality by another of its group: "a red car" becomes "a blue car"."""

from __future__ import annotations

from collections.abc import Iterable

from lightning_cr.negatives.text.candidates import Candidate, attributes
from lightning_cr.negatives.text.fluent_replacing import FluentReplacing
from lightning_cr.negatives.text.reading import Reading

__all__ = ["ReplaceAttribute"]


class ReplaceAttribute(FluentReplacing):
    """Puts another quality of the same kind in the place of one.

    Args:
        counts: Whether numbers count as qualities ("two dogs" becomes "four dogs").
        coverage: As of :class:`FluentRule`.
    """

    def __init__(self, *, counts: bool = True, coverage: float = 0.6) -> None:
        super().__init__(coverage=coverage)
        self.counts = counts

    def candidates(self, reading: Reading) -> Iterable[Candidate]:
        """The qualities."""
        return (one for one in attributes(reading) if self.counts or one.tags[0] != "CD")
