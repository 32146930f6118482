"""Replaces a quality by another of its group: "a red car" becomes "a blue car"."""

from __future__ import annotations

from collections.abc import Iterator

from lightning_cr.negatives.text.candidates import Candidate, attributes
from lightning_cr.negatives.text.multiplying import multiplied
from lightning_cr.negatives.text.reading import Reading
from lightning_cr.negatives.text.replacing import ReplacingRule

__all__ = ["ReplaceAttribute"]


class ReplaceAttribute(ReplacingRule):
    """Puts another quality of the same kind in the place of one.

    Args:
        counts: Whether it is a quality how many there are: "two dogs" becomes "several dogs", "a dog" becomes "two
            dogs".
        coverage: As of :class:`FluentRule`.
    """

    settled = True

    def __init__(self, *, counts: bool = True, coverage: float = 0.605) -> None:
        super().__init__(coverage=coverage)
        self.counts = counts

    def candidates(self, reading: Reading) -> Iterator[Candidate]:
        """The qualities."""
        yield from attributes(reading, self.counts)
        if self.counts:
            yield from multiplied(reading, self.lexicon.tables)
