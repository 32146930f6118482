"""The base of rules that replace one concept: all that could be replaced is listed, one is drawn."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterable, Sequence

from lightning_cr.errors import ConfigError
from lightning_cr.negatives.text.base import AnnotatedCaption, Choices, Negative, TextRule
from lightning_cr.negatives.text.candidates import Candidate, worth_replacing
from lightning_cr.negatives.text.context import Change, ClueCounts, CorpusContext, balance, pick, weigh
from lightning_cr.negatives.text.reading import Reading, read
from lightning_cr.negatives.text.rewriting import raw, rewrite, rotated

__all__ = ["ReplacingRule"]


class ReplacingRule(TextRule):
    """Replaces one of a caption's concepts.

    Without a corpus each place has the same chance, and at a place each choice. Once it has learned from one (see
    :meth:`TextNegatives.learn`), place and choice are drawn by what stands between the same neighbours there.

    Args:
        reluctance: Weight of leaving the slot empty beside changes that the corpus finds unlikely; 0 replaces something
            wherever the lexicon can. Without a corpus it does nothing.

    Raises:
        ConfigError: A negative reluctance.
    """

    def __init__(self, *, reluctance: float = 0.0) -> None:
        if reluctance < 0:
            raise ConfigError(f"reluctance is {reluctance}; it must be 0 or more, such as 0.02")
        self.reluctance = reluctance
        self._context: CorpusContext | None = None
        self._clues = ClueCounts()
        self._factors: dict[str, float] = {}

    @abstractmethod
    def candidates(self, reading: Reading) -> Iterable[Candidate]:
        """What could be replaced."""

    def learn(self, context: CorpusContext, captions: Sequence[AnnotatedCaption]) -> None:
        """Takes over a corpus's counts, and balances what is put in with what is taken out.

        Args:
            context: Counts of the corpus.
            captions: An even sample of it.
        """
        self._context = context
        self._clues = ClueCounts()
        for caption in captions:
            reading = read(caption, self.lexicon)
            for candidate in self.candidates(reading):
                if candidate.clues:
                    self._clues.add(_old(candidate, reading), candidate.clues)
        readings = (read(caption, self.lexicon) for caption in captions)
        self._factors = balance(
            [[change for _, change in self._weighed(reading, context)] for reading in readings], self.reluctance
        )

    def __call__(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Negative | None:
        """See :class:`TextRule`."""
        reading = read(caption, self.lexicon)
        found = self._draw(reading, rng)
        if found is None:
            return None
        return _written(caption, *found, kind)

    def choices(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Choices:
        """See :class:`TextRule`."""
        if self._context is None:
            return [], []
        weighed = self._weighed(read(caption, self.lexicon), self._context)
        kept, uppers = weigh([change for _, change in weighed], self._factors, self.reluctance)
        return uppers, [_written(caption, weighed[at][0], weighed[at][1][1], kind) for at in kept]

    def _draw(self, reading: Reading, rng: random.Random) -> tuple[Candidate, str] | None:
        if self._context is not None:
            weighed = self._weighed(reading, self._context)
            index = pick([change for _, change in weighed], self._factors, self.reluctance, rng)
            return None if index is None else (weighed[index][0], weighed[index][1][1])
        # Round from a random place on to the first that can be replaced.
        found = worth_replacing(rotated(list(self.candidates(reading)), rng))
        return (found[0], rng.choice(found[0].choices)) if found else None

    def choose(self, candidate: Candidate, reading: Reading, rng: random.Random) -> str:
        """Draws what is put in at a place that is settled."""
        if self._context is None:
            return rng.choice(candidate.choices)
        return rng.choices(candidate.wordings, self._chances(candidate, reading, self._context))[0]

    def _chances(self, candidate: Candidate, reading: Reading, context: CorpusContext) -> list[float]:
        if candidate.clues:
            return self._clues.probabilities(_old(candidate, reading), candidate.clues, candidate.wordings)
        return context.probabilities(reading.words, candidate.start, candidate.end, candidate.wordings)

    def _weighed(self, reading: Reading, context: CorpusContext) -> list[tuple[Candidate, Change]]:
        weighed = []
        for candidate in worth_replacing(self.candidates(reading)):
            old, chances = _old(candidate, reading), self._chances(candidate, reading, context)
            # Liu's Metropolised Gibbs step (1996): to leave p is as likely as to come back to it, and more is changed
            # than where the original is drawn again as well.
            stays = max(0.0, 1 - sum(chances))
            changes = zip(candidate.wordings, chances, strict=True)
            weighed += [(candidate, (old, new, chance / max(1e-6, 1 - min(chance, stays)))) for new, chance in changes]
        return weighed


def _written(caption: AnnotatedCaption, candidate: Candidate, new: str, kind: str) -> Negative | None:
    start, end = candidate.start, candidate.end
    return rewrite(caption, [(start, end, new)], kind, raw(caption, start, end), new)


def _old(candidate: Candidate, reading: Reading) -> str:
    return " ".join(reading.words[candidate.start : candidate.end])
