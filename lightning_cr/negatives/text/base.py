"""The door of the text negatives: an annotated caption and a random generator in, at most one negative a rule out."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from lightning_cr.negatives.text.drawing import ByShare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_cr.negatives.text.context import CorpusContext
    from lightning_cr.negatives.text.lexicon import Lexicon

__all__ = ["AnnotatedCaption", "Choices", "Negative", "SettledRule", "TextRule", "Token"]


@dataclass(frozen=True, slots=True)
class Token:
    """One word or mark of a caption.

    Attributes:
        text: As it stands in the caption.
        start: First character in the caption.
        end: One past the last character.
        tag: Penn Treebank part-of-speech tag (``NN``, ``NNS``, ``JJ``, ``VBG``, ``IN``, ``DT`` ...).
    """

    text: str
    start: int
    end: int
    tag: str


@dataclass(frozen=True, slots=True)
class AnnotatedCaption:
    """A caption with its tokens.

    Attributes:
        text: The caption.
        tokens: Its words and marks, in order; what lies between them is white space.
    """

    text: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Negative:
    """A caption that is false for the picture, and how it was made.

    Attributes:
        text: The false caption; never equal to the caption it was made from.
        kind: The slot it fills: a SugarCrepe category such as ``replace_rel`` or ``swap_att``.
        original: The words that were replaced (for a swap, the first of the two).
        replacement: What stands there now (for a swap, the second of the two).
        start: First character of the caption that differs by the edit.
        end: One past the last character of the caption that differs by the edit (a swap spans both places).
        concreteness: Of ``original``, in [0, 1]; None where it was not rated.
    """

    text: str
    kind: str
    original: str
    replacement: str
    start: int
    end: int
    concreteness: float | None = None


Choices = tuple[list[int], list[Negative | None]]
"""For each negative the sum of the shares up to its own, and the negatives, None for one that comes to nothing; see
:func:`lightning_cr.negatives.text.drawing.shares`."""


class TextRule(ABC):
    """Makes one kind of negative from a caption, or none where the caption gives no occasion."""

    rates: bool = False
    """Whether its negatives come with a concreteness without being rated by ``negatives.norms``."""

    settled: bool = False
    """Whether what it has learned settles what it may make of a caption and how often, so that it can be asked for that
    once a caption: it is a :class:`SettledRule`. Not inherited: a class says it of itself."""

    _lexicon: Lexicon | None = None
    _arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Notes what the rule is made with, so that what it learns can be kept under it."""
        rule = super().__new__(cls)
        rule._arguments = {str(at): _fixed(value) for at, value in enumerate(args)}
        rule._arguments |= {name: _fixed(value) for name, value in kwargs.items()}
        return rule

    @property
    def draws(self) -> type[ByShare] | None:
        """How a settled rule draws from what it may make of a caption; None as long as that is not settled."""
        return ByShare

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that the settings name and whose content decides what the rule makes."""
        return ()

    @property
    def options(self) -> dict[str, Any]:
        """What decides what the rule makes of a corpus: its public settings, and what else it was made with."""
        simple = (bool, int, float, str, type(None))
        settings = {name: value for name, value in vars(self).items() if name[0] != "_" and isinstance(value, simple)}
        return dict(sorted((self._arguments | settings).items()))

    @property
    def lexicon(self) -> Lexicon:
        """The words to choose from; COCO's where :meth:`bind` was not called."""
        if self._lexicon is None:
            from lightning_cr.negatives.text.lexicon import Lexicon

            self._lexicon = Lexicon()
        return self._lexicon

    def bind(self, lexicon: Lexicon) -> None:
        """Gives the rule its words; the door calls it, so that all its rules share one lexicon."""
        self._lexicon = lexicon

    def learn(self, context: CorpusContext, captions: Sequence[AnnotatedCaption]) -> None:  # noqa: B027 (optional)
        """Gives the rule a corpus to go by; one that draws without regard to it lets it pass.

        Args:
            context: Counts of the corpus.
            captions: An even sample of it.
        """

    @abstractmethod
    def __call__(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Negative | None:
        """Edits the caption.

        Args:
            caption: The annotated caption.
            kind: Name of the slot the negative is for; it goes into :attr:`Negative.kind`.
            rng: The only source of randomness, so that the same seed gives the same negative.

        Returns:
            The negative, or None: never a placeholder, never the caption itself.
        """


class SettledRule(Protocol):
    """What a :attr:`TextRule.settled` rule has besides; see :mod:`lightning_cr.negatives.text.compiled`."""

    @property
    def draws(self) -> type[ByShare] | None:
        """See :attr:`TextRule.draws`."""

    def choices(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Any:
        """All it may make of a caption once it has learned, as :attr:`TextRule.draws` adds it: mostly :data:`Choices`.

        Args:
            caption: The annotated caption.
            kind: Name of the slot.
            rng: As of a call; a rule that is settled asks it for nothing.
        """


def _fixed(value: Any) -> Any:
    """Sets in order: their own changes from process to process."""
    return sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
