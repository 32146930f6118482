"""How one of several is drawn by weight: by whole shares, so that what was weighed before is drawn as what is now."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["WHOLE", "drawn", "shares"]

WHOLE = 65_535
"""Shares are whole numbers that add up to this; two bytes hold them."""

_LEAST = 1e-3
"""What weighs less than this share of the heaviest is left out: of a caption's edits most, of their weight little."""


def shares(weights: Sequence[float], reluctance: float) -> tuple[list[int], list[int]]:
    """Which are drawn at all, and up to where the share of each goes.

    Args:
        weights: Of each.
        reluctance: Weight of none; 0 always draws one, if there is any.

    Returns:
        The places of those that are heavy enough, and for each the sum of shares up to its own.
    """
    least = _LEAST * max(reluctance, max(weights, default=0.0))
    kept = [at for at, weight in enumerate(weights) if weight >= least]
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
