"""The base of rules that replace one concept, place and words both drawn by how the result reads."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterable, Iterator

from lightning_cr.negatives.text.candidates import Candidate, worth_replacing
from lightning_cr.negatives.text.fluent import Edit, FluentRule
from lightning_cr.negatives.text.reading import Reading
from lightning_cr.negatives.text.rewriting import raw, rotated

__all__ = ["FluentReplacing"]


class FluentReplacing(FluentRule):
    """Replaces one of a caption's concepts.

    Without a corpus each place has the same chance, and at a place each choice. Options: :class:`FluentRule`.
    """

    @abstractmethod
    def candidates(self, reading: Reading) -> Iterable[Candidate]:
        """What could be replaced."""

    def plain(self, reading: Reading, rng: random.Random) -> Edit | None:
        """See :class:`FluentRule`."""
        # Round from a random place on to the first that can be replaced.
        found = worth_replacing(rotated(list(self.candidates(reading)), rng))
        return _edit(found[0], rng.choice(found[0].choices), reading) if found else None

    def edits(self, reading: Reading, rng: random.Random) -> Iterator[Edit]:
        """Each choice at each place."""
        for candidate in self.candidates(reading):
            for new in candidate.wordings:
                yield _edit(candidate, new, reading)


def _edit(candidate: Candidate, new: str, reading: Reading) -> Edit:
    start, end = candidate.start, candidate.end
    if candidate.phrase <= end:
        return Edit(((start, end, (new,)),), (start, end), new)
    kept = (end, candidate.phrase)
    phrase = (start, candidate.phrase)
    return Edit(((*phrase, (new, kept)),), phrase, f"{new} {raw(reading.caption, *kept)}")
