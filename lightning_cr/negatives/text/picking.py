"""How the concept to change is picked by a score, before one of its edits is drawn."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence
from typing import Any

from lightning_cr.negatives.text.drawing import ByShare, drawn

__all__ = ["ByNoisyScore", "ByScore", "picked"]


def picked(scores: Sequence[float], rng: random.Random, noisy: bool = False) -> int:
    """Picks the highest score; equal ones have equal chances.

    Args:
        scores: NaN for what cannot be picked beside the others.
        rng: Asked for as many numbers for what cannot be picked.
        noisy: Whether Gumbel noise is added, which makes it a draw from the softmax of the scores.

    Returns:
        Its place, or -1 where there is none.
    """
    values = [score + _gumbel(rng) for score in scores] if noisy else scores
    best, at, lowest = -math.inf, -1, 2.0
    for place, value in enumerate(values):
        chance = rng.random()
        if value > best or (value == best and chance < lowest):
            best, at, lowest = value, place, chance
    return at


class ByScore(ByShare):
    """Draws from the edits of one concept of a caption, after that was picked by its score."""

    codes = "idIH"
    # The first concept of each caption; of each its score, and the first of its edits; of each of those its share.
    noisy = False

    def __init__(self, columns: Sequence[array[Any]] = ()) -> None:
        super().__init__(columns)
        if not columns:
            self._others[1].append(0)

    def add(self, choices: Any) -> list[Any]:
        """See :class:`ByShare`.

        Args:
            choices: Of each concept its score, and its edits as for :class:`ByShare`.
        """
        scores, firsts, uppers = self._others
        made: list[Any] = []
        for score, (new, negatives) in choices or ():
            scores.append(score)
            uppers.extend(new)
            firsts.append(len(uppers))
            made += negatives
        self._rows.append(len(scores))
        return made

    def draw(self, row: int, rng: random.Random) -> int:
        """See :class:`ByShare`."""
        scores, firsts, uppers = self._others
        rows = self._rows
        first = rows[row]
        at = picked(scores[first : rows[row + 1]], rng, self.noisy)
        if at < 0:
            return -1
        end = firsts[first + at + 1]
        found = drawn(uppers, rng, firsts[first + at], end)
        return -1 if found == end else found


class ByNoisyScore(ByScore):
    """The same where the scores are those of a softmax."""

    noisy = True


def _gumbel(rng: random.Random) -> float:
    return -math.log(max(rng.expovariate(1.0), 1e-300))
