"""Puts in a word that a language model filled into the caption: CE-CLIP's way of making negatives, done beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from lightning_cr.errors import ConfigError, DataError, suggest
from lightning_cr.negatives.text.candidates import Candidate, Role
from lightning_cr.negatives.text.fills import Fills, shards_in
from lightning_cr.negatives.text.reading import Reading
from lightning_cr.negatives.text.replacing import ReplacingRule

__all__ = ["MaskedFill"]

_STRANGERS = 1000
"""So many captions without fills, and none with, are no accident."""


class MaskedFill(ReplacingRule):
    """Replaces a thing, quality or relation by what a masked language model finds likely in its place.

    CE-CLIP (2306.08832) has distilroberta fill the place of one noun, adjective or verb. Here the model is asked once
    for all places of a corpus, by ``python -m lightning_cr fill``, and each epoch draws a place and one of its words
    anew, without the model. Unlike in the public generator, a whole concept is masked and no string that another word
    contains; the original, its inflections and what may be true together with it by the lexicon are never filled in;
    and where there is nothing to replace there is no negative. Captions that were not filled get none either.

    Args:
        source: The folder that the command wrote.
        role: What is replaced: ``object`` (the paper's noun), ``attribute`` (adjective) or ``relation`` (verb, and here
            also a preposition).
        coverage: As of :class:`FluentRule`.

    Raises:
        ConfigError: An unknown role, or a share out of range.
    """

    def __init__(self, *, source: str, role: Role, coverage: float = 0.8) -> None:
        if role not in get_args(Role):
            known = ", ".join(get_args(Role))
            raise ConfigError(f"MaskedFill.role is '{role}'; known are {known}.{suggest(role, get_args(Role))}")
        super().__init__(coverage=coverage)
        self.role = role
        self.fills = Fills(source)
        self._strangers = 0

    @property
    def files(self) -> tuple[Path, ...]:
        """What was filled in."""
        return tuple(shards_in(Path(self.fills.folder)))

    def candidates(self, reading: Reading) -> Iterator[Candidate]:
        """The places that were filled."""
        caption = reading.caption
        fills = self.fills.of(caption.text)
        if fills is None:
            self._count_stranger()
            return
        self._strangers = -1
        starts = {token.start: at for at, token in enumerate(caption.tokens)}
        ends = {token.end: at + 1 for at, token in enumerate(caption.tokens)}
        for fill in fills:
            if fill.role == self.role and fill.start in starts and fill.end in ends:
                start, end = starts[fill.start], ends[fill.end]
                tags = tuple(token.tag for token in caption.tokens[start:end])
                yield Candidate(fill.role, start, end, tags, fill.words, fill.words)

    def _count_stranger(self) -> None:
        if self._strangers >= 0:
            self._strangers += 1
        if self._strangers >= _STRANGERS:
            raise DataError(
                f"none of the first {_STRANGERS:,} captions was filled in '{self.fills.folder}'; fill the captions that"
                f" you train on: python -m lightning_cr fill --captions FILE --out {self.fills.folder}"
            )
