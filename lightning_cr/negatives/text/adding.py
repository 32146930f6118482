"""What the additions share: words go in, nothing goes out, and what a corpus has at such places is drawn."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from lightning_cr.negatives.text.base import AnnotatedCaption, Negative
from lightning_cr.negatives.text.fluent import Edit, FluentRule

__all__ = ["AddingRule", "Offers"]

_OFFERED = 4
"""So many words are weighed at each place: to weigh all that could stand there would take too long."""

_MOST = 40
"""So many are remembered of each place, the most frequent ones."""


class Offers:
    """What stands at a kind of place, drawn by how often it stands there.

    Args:
        counts: How often.
        fewest: What was seen more rarely is left out.
    """

    def __init__(self, counts: Mapping[str, int], fewest: int = 2) -> None:
        best = [item for item in Counter(counts).most_common(_MOST) if item[1] >= fewest]
        self.choices = [choice for choice, _ in best]
        self._weights = [count for _, count in best]
        self._total = sum(self._weights)

    def draw(self, rng: random.Random) -> list[tuple[str, float]]:
        """Some of them, each once, with the logarithm of its share."""
        if not self.choices:
            return []
        drawn = dict.fromkeys(rng.choices(range(len(self.choices)), self._weights, k=_OFFERED))
        return [(self.choices[at], math.log(self._weights[at] / self._total)) for at in drawn]


class AddingRule(FluentRule):
    """Puts words into a caption; :attr:`Negative.original` is empty and the span is the place they go into.

    The span is empty too, save where an article or a capital changes on account of them ("An elephant" becomes "A gray
    elephant").
    """

    lengthens = True

    def write(self, caption: AnnotatedCaption, edit: Edit, kind: str) -> Negative | None:
        """Puts an edit into the caption's text."""
        negative = super().write(caption, edit, kind)
        if negative is None:
            return None
        token = caption.tokens[edit.parts[0][0]]
        text, new = caption.text, negative.text
        added = len(new) - len(text)
        start, end = negative.start, negative.end
        for at in (token.start, token.end):
            if new[:at] == text[:at] and new[at + added :] == text[at:]:
                start = end = at
                break
        else:
            if new[token.start + added :] == text[token.start :]:
                end = token.start  # the article before it changed
                while end > start and text[end - 1].isspace():
                    end -= 1
        return replace(negative, original="", start=start, end=end)
