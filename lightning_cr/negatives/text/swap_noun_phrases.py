"""Swaps two phrases with all that describes them: "a red cube on a blue ball" becomes "a blue ball on a red cube"."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lightning_cr.negatives.text.assertions import Assertions
from lightning_cr.negatives.text.fluent import Edit, FluentRule
from lightning_cr.negatives.text.reading import Reading
from lightning_cr.negatives.text.swapping import agrees, pairs, swapped

__all__ = ["SwapNounPhrases"]


class SwapNounPhrases(FluentRule):
    """Swaps two things together with their articles, numbers and qualities; only what relates them changes.

    The phrases need not be neighbours, nor their nouns be known to the lexicon; the swap must assert something that
    the caption does not (see :class:`Assertions`). Options: :class:`FluentRule`.
    """

    settled = True

    def __init__(self, *, coverage: float = 0.37) -> None:
        super().__init__(coverage=coverage)

    def edits(self, reading: Reading, rng: random.Random) -> Iterator[Edit]:
        """All swaps of two phrases."""
        asserted = Assertions(reading, self.lexicon.tables.symmetric)
        for i, j in pairs(reading):
            first, second = reading.things[i], reading.things[j]
            if agrees(first, second, reading) and asserted.swap_is_false(i, j):
                yield swapped((first.start, first.end), (second.start, second.end))
