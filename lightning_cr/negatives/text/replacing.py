"""The base of rules that replace one concept, place and words both drawn by how the result reads."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest

from lightning_cr.negatives.text.base import AnnotatedCaption
from lightning_cr.negatives.text.candidates import Candidate, worth_replacing
from lightning_cr.negatives.text.context import CorpusContext
from lightning_cr.negatives.text.fluent import Edit, FluentRule
from lightning_cr.negatives.text.reading import Reading
from lightning_cr.negatives.text.rewriting import raw, rotated

__all__ = ["ReplacingRule"]


class ReplacingRule(FluentRule):
    """Replaces one of a caption's concepts.

    Without a corpus each place has the same chance, and at a place each choice. Options: :class:`FluentRule`.
    """

    most = 0.98
    listed = 24
    """So many words are weighed at each place: the others would hardly ever be drawn."""

    _context: CorpusContext | None = None

    @abstractmethod
    def candidates(self, reading: Reading) -> Iterable[Candidate]:
        """What could be replaced."""

    def plain(self, reading: Reading, rng: random.Random) -> Edit | None:
        """See :class:`FluentRule`."""
        # Round from a random place on to the first that can be replaced.
        found = worth_replacing(rotated(list(self.candidates(reading)), rng))
        return self.edit(found[0], rng.choice(found[0].choices), reading) if found else None

    def learn(self, context: CorpusContext, captions: Sequence[AnnotatedCaption]) -> None:
        """See :class:`FluentRule`."""
        self._context = context
        super().learn(context, captions)

    def edits(self, reading: Reading, rng: random.Random) -> Iterator[Edit]:
        """Each choice at each place that is worth weighing."""
        for candidate in self.candidates(reading):
            for new in self.likeliest(candidate, reading):
                yield self.edit(candidate, new, reading)

    def likeliest(self, candidate: Candidate, reading: Reading) -> Sequence[str]:
        """What is worth weighing at a place: of all that the corpus has, what it has most often between such words."""
        context, wordings = self._context, candidate.wordings
        if context is None:
            return wordings
        known = [word for word in wordings if " " in word or context.frequency(word)]
        if len(known) <= self.listed:
            return known
        chances = context.probabilities(reading.words, candidate.start, candidate.end, known)
        return [known[at] for at in nlargest(self.listed, range(len(known)), key=chances.__getitem__)]

    def edit(self, candidate: Candidate, new: str, reading: Reading) -> Edit:
        """The exchange of a concept, or of the phrase that goes with it."""
        start, end = candidate.start, candidate.end
        if candidate.phrase <= end:
            return Edit(((start, end, (new,)),), (start, end), new)
        kept, phrase = (end, candidate.phrase), (start, candidate.phrase)
        return Edit(((*phrase, (new, kept)),), phrase, f"{new} {raw(reading.caption, *kept)}")
