"""How likely a corpus finds a run of words: what tells an edit that reads like a caption from one that does not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

__all__ = ["BEGIN", "BITS", "END", "PAIRS", "NGrams"]

BEGIN, END = 0, 1
"""The numbers of what stands before a caption and behind it."""

BITS = 21
"""A word's number has so many."""

PAIRS = 1 << 62
"""The number of a run of words is below this for single words, and not for pairs and triples."""

_TRIPLES = 1 << 63
_UNKNOWN = 1 << 20
_REMEMBERED = 50_000

_BEGIN, _END = "^", "$"
_PRIOR = 2.0
"""Counts that the shorter run is worth against what was seen of the longer one."""


class NGrams:
    """Counts of single words, pairs and triples, and a smoothed model of the next word given two before it."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {_BEGIN: 0, _END: 1}
        self._counts: dict[int, int] = {}
        self._total = 0
        self._phrases: dict[str, list[int]] = {}

    def count(self, words: Sequence[str]) -> None:
        """Adds a caption; lower case, with "a" for "an"."""
        self._phrases = {}
        ids, counts = self._ids, self._counts
        first = second = 0
        for key in (0, PAIRS):  # the beginning, as what the first words follow
            counts[key] = counts.get(key, 0) + 1
        for word in (*words, _END):
            third = ids.setdefault(word, len(ids))
            # Three numbers of 21 bits in one; words start at 0, so that each length has its own offset.
            for key in (third, PAIRS | second << 21 | third, _TRIPLES | first << 42 | second << 21 | third):
                counts[key] = counts.get(key, 0) + 1
            first, second = second, third
        self._total += len(words) + 1

    def prune(self) -> None:
        """Forgets triples that were seen once: most of the memory, and mostly the caption's own."""
        self._counts = {key: count for key, count in self._counts.items() if count > 1 or key < _TRIPLES}

    def share(self, before: str, word: str) -> float:
        """How often a word has another right before it, of all its mentions."""
        first, second = self._ids.get(before), self._ids.get(word)
        if first is None or second is None:
            return 0.0
        return self._counts.get(PAIRS | first << 21 | second, 0) / self._counts[second]

    def numbers(self, words: Iterable[str]) -> list[int]:
        """The words' numbers; lower case, with "a" for "an". All words that were not counted have the same."""
        get = self._ids.get
        return [get(word, _UNKNOWN) for word in words]

    def phrase(self, text: str) -> list[int]:
        """The numbers of what may be put into a caption, remembered."""
        found = self._phrases.get(text)
        if found is None:
            found = self.numbers(["a" if word == "an" else word for word in text.split()])
            if len(self._phrases) < _REMEMBERED:
                self._phrases[text] = found
        return found

    def runs(self, words: Sequence[int], start: int, end: int) -> list[int]:
        """What changes with a stretch: its words, and the pairs and triples with one of them, each as one number.

        Args:
            words: A caption in numbers.
            start: First word of the stretch.
            end: One past the last.
        """
        size = len(words)
        found = list(words[start:end])
        first = words[start - 2] if start > 1 else 0
        second = words[start - 1] if start else 0
        for at in range(start, min(end + 2, size + 1)):
            third = words[at] if at < size else 1
            pair = second << 21 | third
            if at <= end:
                found.append(PAIRS | pair)
            if at:
                found.append(_TRIPLES | first << 42 | pair)
            first, second = second, third
        return found

    def likelihood(self, words: Sequence[int], start: int, end: int) -> float:
        """Logarithm of how likely the words of a stretch are, and the two behind it, given what stands before each.

        Args:
            words: A caption in numbers.
            start: First word of the stretch.
            end: One past the last.
        """
        get, size, every = self._counts.get, len(words), self._total + 1
        first = words[start - 2] if start > 1 else 0
        second = words[start - 1] if start else 0
        of_second, before = get(second, 0), get(PAIRS | first << 21 | second, 0)
        result = 0.0
        for at in range(start, min(end + 2, size + 1)):
            third = words[at] if at < size else 1
            # As in chance; what is counted for a word is asked for once, though the next one needs it too.
            pair, of_third = second << 21 | third, get(third, 0)
            of_pair = get(PAIRS | pair, 0)
            chance = (of_pair + _PRIOR * ((of_third + 0.5) / every)) / (of_second + _PRIOR)
            result += math.log((get(_TRIPLES | first << 42 | pair, 0) + _PRIOR * chance) / (before + _PRIOR))
            first, second, of_second, before = second, third, of_third, of_pair
        return result

    def chance(self, first: int, second: int, third: int) -> float:
        """Logarithm of how likely a word is behind two others."""
        get = self._counts.get
        chance = (get(third, 0) + 0.5) / (self._total + 1)
        pair = second << 21 | third
        chance = (get(PAIRS | pair, 0) + _PRIOR * chance) / (get(second, 0) + _PRIOR)
        before = get(PAIRS | first << 21 | second, 0)
        return math.log((get(_TRIPLES | first << 42 | pair, 0) + _PRIOR * chance) / (before + _PRIOR))
