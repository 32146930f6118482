"""How one of several is drawn by weight: by whole shares, so that what was weighed before is drawn as what is now."""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

__all__ = ["WHOLE", "ByShare", "drawn", "enough", "shares"]

WHOLE = 65_535
"""Shares are whole numbers that add up to this; two bytes hold them."""

_LEAST = 1e-3
"""What weighs less than this share of the heaviest is left out: of a caption's edits most, of their weight little."""


def enough(weights: Sequence[float], reluctance: float) -> list[int]:
    """The places of those that count beside leaving the caption alone; the others change nothing in :func:`shares`."""
    least = _LEAST * reluctance
    return [at for at, weight in enumerate(weights) if weight >= least]


def shares(weights: Sequence[float], reluctance: float) -> tuple[list[int], list[int]]:
    """Which are drawn at all, and up to where the share of each goes.

    Args:
        weights: Of each.
        reluctance: Weight of none; 0 always draws one, if there is any.

    Returns:
        The places of those that are heavy enough, and for each the sum of shares up to its own.
    """
    kept = enough(weights, max(reluctance, max(weights, default=0.0)))
    total = sum([weights[at] for at in kept]) + reluctance
    uppers, running = [], 0.0
    for at in kept:
        running += weights[at]
        uppers.append(round(WHOLE * running / total) if total else 0)
    if uppers and not reluctance:
        uppers[-1] = WHOLE
    return kept, uppers


def drawn(uppers: Sequence[int], rng: random.Random, first: int = 0, end: int | None = None) -> int:
    """Draws one; nothing is asked of the generator where there is none.

    Args:
        uppers: As of :func:`shares`, perhaps among others'.
        rng: The only source of randomness.
        first: Where they begin.
        end: Where they end.

    Returns:
        Its place, or ``end`` for none.
    """
    end = len(uppers) if end is None else end
    return bisect_right(uppers, int(rng.random() * WHOLE), first, end) if first < end else end


class ByShare:
    """The draws from the edits of many captions, as columns of numbers that a file can hold.

    Args:
        columns: What a file holds; none to begin with.

    Attributes:
        columns: One for each of ``codes``.
    """

    codes = "iH"
    """Of the numbers in the columns, as of :mod:`array`: here the first edit of each caption, and the shares."""

    def __init__(self, columns: Sequence[Any] = ()) -> None:
        self.columns: list[Any] = list(columns) or [array(code) for code in self.codes]
        self._rows, *self._others = self.columns
        if not columns:
            self._rows.append(0)

    def __len__(self) -> int:
        return len(self._rows) - 1

    def add(self, choices: Any) -> list[Any]:
        """Adds the next caption.

        Args:
            choices: What may be made of it, as the rules say that name this class; None for nothing.

        Returns:
            The negatives, in the order in which :meth:`draw` counts them.
        """
        (uppers,) = self._others
        new: list[int]
        negatives: list[Any]
        new, negatives = choices or ([], [])
        if len(new) != len(negatives):
            raise ValueError(f"there are {len(new)} shares and {len(negatives)} negatives")
        uppers.extend(new)
        self._rows.append(len(uppers))
        return negatives

    def draw(self, row: int, rng: random.Random) -> int:
        """Draws from the edits of a caption.

        Args:
            row: The number of the caption.
            rng: The only source of randomness, asked for what a draw without this would ask for.

        Returns:
            The number of the negative among those of all captions, or -1 for none.
        """
        (uppers,) = self._others
        rows = self._rows
        end = rows[row + 1]
        at = drawn(uppers, rng, rows[row], end)
        return -1 if at == end else at
