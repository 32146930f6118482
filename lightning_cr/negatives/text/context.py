r"""What a corpus says between two neighbours, so that a negative reads like a caption.

A word that is put in is a dead giveaway where nobody would write it ("a robot on a robot"): a model can then tell
captions from negatives without looking at the picture. :class:`CorpusContext` counts what stands where in the corpus,
so that rules weigh what fits. Ours; the nearest published remedy is SugarCrepe's filter of its test items (2306.14610,
section 4).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from lightning_cr.negatives.text.base import AnnotatedCaption
from lightning_cr.negatives.text.lexicon import Tables
from lightning_cr.negatives.text.ngrams import NGrams

__all__ = ["CorpusContext"]

_BEGIN, _END = "^", "$"
_SMOOTHING = 1.0
"""Counts that the neighbours' own frequency is worth against what was seen beside a word."""

_NEVER = 1e-30
"""Weight of a word that the corpus does not have; it is only put in where nothing else fits."""


class CorpusContext:
    """Counts of words and of the lexicon's phrases with the word before and the word behind.

    Attributes:
        ngrams: How likely whole captions are.
    """

    def __init__(self) -> None:
        self.ngrams = NGrams()
        self._total = 0
        self._forms: Counter[str] = Counter()
        self._before: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._behind: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._shares: tuple[dict[str, float], dict[str, float]] = ({}, {})

    def count(self, captions: Iterable[AnnotatedCaption], tables: Tables) -> None:
        """Adds captions; phrases that the lexicon knows are counted as one word and by their words.

        Args:
            captions: Annotated captions.
            tables: The lexicon.
        """
        for caption in captions:
            words = [_plain(token.text) for token in caption.tokens]
            for start, end in _units(words, tables):
                self._add(words, start, end)
                if end - start > 1:
                    for at in range(start, end):
                        self._add(words, at, at + 1)
            self.ngrams.count(words)
        self.ngrams.prune()
        self._total = max(1, sum(self._forms.values()))
        # k p(l): what a neighbour is worth beside a word with which it was never seen
        self._shares = tuple(  # type: ignore[assignment]
            {word: _SMOOTHING * (sum(seen.values()) + 1) / self._total for word, seen in side.items()}
            for side in (self._before, self._behind)
        )

    def _add(self, words: list[str], start: int, end: int) -> None:
        form = words[start] if end - start == 1 else " ".join(words[start:end])
        before, behind = _neighbours(words, start, end)
        self._forms[form] += 1
        for side, neighbour in ((self._before, before), (self._behind, behind)):
            seen = side[neighbour]
            seen[form] = seen.get(form, 0) + 1

    def frequency(self, form: str) -> int:
        """How often a word or phrase stands in the corpus."""
        return self._forms.get(form, 0)

    def probabilities(self, words: Sequence[str], start: int, end: int, choices: Sequence[str]) -> list[float]:
        r"""How likely each choice is at a place, the words that stand there among them.

        With counts c, neighbours l and r and the smoothing k, proportional to
        :math:`c(w) \cdot \frac{c(l, w) + k\,p(l)}{c(w) + k} \cdot \frac{c(w, r) + k\,p(r)}{c(w) + k}`, which is
        p(w | l, r) if the neighbours are independent given the word. To draw from it, the original included, is a step
        of Gibbs sampling: it leaves the captions' distribution as it is, so that those that changed look like captions.

        Args:
            words: The caption's words, lower case.
            start: First word that is replaced.
            end: One past the last.
            choices: What may stand there.

        Returns:
            Probabilities of the choices; what is left to 1 is the original's.
        """
        original = _plain(words[start]) if end - start == 1 else " ".join(words[start:end])
        before, behind = _neighbours(words, start, end)
        forms, left, right = self._forms.get, self._before.get(before, {}).get, self._behind.get(behind, {}).get
        floor = _SMOOTHING / self._total
        left_share, right_share = self._shares[0].get(before, floor), self._shares[1].get(behind, floor)
        weights = []
        for form in (original, *choices):
            count = forms(form, 0)
            seen = (left(form, 0) + left_share) * (right(form, 0) + right_share)
            weights.append(count * seen / (count + _SMOOTHING) ** 2 if count else _NEVER)
        total = sum(weights)
        return [weight / total for weight in weights[1:]]


def _plain(word: str) -> str:
    word = word.lower()
    return "a" if word == "an" else word


def _neighbours(words: Sequence[str], start: int, end: int) -> tuple[str, str]:
    before = words[start - 1] if start else _BEGIN
    return ("a" if before == "an" else before), (words[end] if end < len(words) else _END)


def _units(words: list[str], tables: Tables) -> list[tuple[int, int]]:
    """The caption cut into the longest phrases that the lexicon knows, and single words."""
    ends = [0]
    while ends[-1] < len(words):
        at = ends[-1]
        forms = tables.phrases.get(words[at], ())
        ends.append(next((at + len(form) for form, _ in forms if words[at : at + len(form)] == form), at + 1))
    return list(pairwise(ends))
