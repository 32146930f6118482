"""The base of most rules: all edits of a caption are listed, and drawn by how the result reads."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_cr.errors import ConfigError
from lightning_cr.negatives.text.base import AnnotatedCaption, Negative, TextRule
from lightning_cr.negatives.text.context import CorpusContext
from lightning_cr.negatives.text.drawing import drawn, shares
from lightning_cr.negatives.text.flows import Flow, balance_flows, weigh
from lightning_cr.negatives.text.inflection import article
from lightning_cr.negatives.text.ngrams import NGrams
from lightning_cr.negatives.text.reading import Reading, read
from lightning_cr.negatives.text.rewriting import raw, rewrite

__all__ = ["Edit", "FluentRule", "Part", "plain_words"]

Part = tuple[int, int, tuple[tuple[int, int] | str, ...]]
"""First token and one past the last that go, and what comes: other tokens of the caption, or words."""


@dataclass(slots=True, eq=False)
class Edit:
    """A change of a caption.

    Attributes:
        parts: What goes and what comes, in order.
        original: What the record names as taken out: tokens, or words.
        replacement: What it names as put in.
        concreteness: Of the original, where the rule rates it.
    """

    parts: tuple[Part, ...]
    original: tuple[int, int] | str
    replacement: tuple[int, int] | str
    concreteness: float | None = None

    def changed(self, words: Sequence[int], numbers: Callable[[str], list[int]]) -> list[int]:
        """What stands in the place of all between the beginning of the first part and the end of the last.

        Args:
            words: The caption's words as numbers.
            numbers: Gives those of what comes.
        """
        result: list[int] = []
        done = self.parts[0][0]
        for start, end, new in self.parts:
            result += words[done:start]
            for piece in new:
                result += numbers(piece) if isinstance(piece, str) else words[piece[0] : piece[1]]
            done = end
        return result


class FluentRule(TextRule):
    """Makes one of the edits that a caption allows.

    Without a corpus they are drawn with equal chances. Once it has learned from one (see :meth:`TextNegatives.learn`),
    an edit is drawn by how likely the corpus finds its words in their new places, over the old, and by what keeps the
    words that come and go in balance (see :mod:`lightning_cr.negatives.text.flows`). Captions where nothing fits are
    left alone.

    Args:
        coverage: Share of a corpus's captions that get a negative, as far as they can: the fewer, the harder to tell
            from captions. Without a corpus it does nothing.

    Raises:
        ConfigError: A share that is not above 0 and up to 1.
    """

    most = 0.9
    """Share of the captions with an edit that get one at most, whatever the coverage."""

    def __init__(self, *, coverage: float) -> None:
        if not 0 < coverage <= 1:
            raise ConfigError(f"coverage is {coverage}; it must be above 0 and at most 1, such as 0.3")
        self.coverage = coverage
        self._ngrams: NGrams | None = None
        self._factors: dict[int, float] = {}
        self._reluctance = 0.0

    @abstractmethod
    def edits(self, reading: Reading, rng: random.Random) -> Iterable[Edit]:
        """What could be changed; every one makes the caption false as far as the text tells.

        Args:
            reading: The caption.
            rng: For those who have too many to weigh and put up some.
        """

    def plain(self, reading: Reading, rng: random.Random) -> Edit | None:
        """Draws an edit without a corpus."""
        found = list(self.edits(reading, rng))
        return rng.choice(found) if found else None

    def learn(self, context: CorpusContext, captions: Sequence[AnnotatedCaption]) -> None:
        """Takes over a corpus's counts, and balances what comes with what goes.

        Args:
            context: Counts of the corpus.
            captions: An even sample of it.
        """
        self._ngrams = ngrams = context.ngrams
        flows = []
        words = []
        for index, caption in enumerate(captions):
            reading = read(caption, self.lexicon)
            flows.append(self._flows(reading, list(self.edits(reading, random.Random(index))), ngrams))
            words.append(ngrams.runs(ngrams.numbers(plain_words(reading)), 0, len(reading.words)))
        self._factors, self._reluctance = balance_flows(words, flows, self.coverage, self.most)

    def __call__(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Negative | None:
        """See :class:`TextRule`."""
        reading = read(caption, self.lexicon)
        edit = self.plain(reading, rng) if self._ngrams is None else self._draw(reading, rng)
        return None if edit is None else self.write(caption, edit, kind)

    def write(self, caption: AnnotatedCaption, edit: Edit, kind: str) -> Negative | None:
        """Puts an edit into the caption's text."""
        changes = [(start, end, " ".join(_text(caption, new) for new in pieces)) for start, end, pieces in edit.parts]
        original, replacement = _text(caption, edit.original), _text(caption, edit.replacement)
        return rewrite(caption, changes, kind, original, replacement, edit.concreteness)

    def choices(self, caption: AnnotatedCaption, kind: str, rng: random.Random) -> Any:
        """See :class:`ByShare`."""
        found, uppers = self._weighed(read(caption, self.lexicon), rng)
        return uppers, [self.write(caption, edit, kind) for edit in found]

    def _draw(self, reading: Reading, rng: random.Random) -> Edit | None:
        found, uppers = self._weighed(reading, rng)
        at = drawn(uppers, rng)
        return found[at] if at < len(found) else None

    def _weighed(self, reading: Reading, rng: random.Random) -> tuple[list[Edit], list[int]]:
        """The edits that are drawn at all, and the sums of their shares."""
        return ([], []) if self._ngrams is None else self._shared(reading, list(self.edits(reading, rng)))

    def _shared(self, reading: Reading, found: list[Edit]) -> tuple[list[Edit], list[int]]:
        """Those of some edits that are drawn at all, and the sums of their shares."""
        if self._ngrams is None:
            return [], []
        kept, uppers = shares(weigh(self._flows(reading, found, self._ngrams), self._factors), self._reluctance)
        return [found[at] for at in kept], uppers

    def _flows(self, reading: Reading, edits: Iterable[Edit], ngrams: NGrams) -> list[Flow]:
        words = ngrams.numbers(plain_words(reading))
        known: dict[tuple[int, int], tuple[float, list[int]]] = {}
        flows = []
        for edit in edits:
            start, end = stretch = edit.parts[0][0], edit.parts[-1][1]
            if stretch not in known:  # of many edits
                known[stretch] = ngrams.likelihood(words, start, end), ngrams.runs(words, start, end)
            likelihood, taken_out = known[stretch]
            changed = edit.changed(words, ngrams.phrase)
            # No run goes further than two words.
            near = words[max(0, start - 2) : start] + changed + words[end : end + 2]
            at = min(2, start)
            gain = ngrams.likelihood(near, at, at + len(changed)) - likelihood
            flows.append(Flow(gain, ngrams.runs(near, at, at + len(changed)), taken_out))
        return flows


def plain_words(reading: Reading) -> list[str]:
    """A caption's words in lower case, with "a" for "an", which follows by itself."""
    return ["a" if word == "an" else word for word in reading.words]


def _text(caption: AnnotatedCaption, piece: tuple[int, int] | str) -> str:
    """The words of a piece, with the right article where its author put a wrong one ("a elephant")."""
    if isinstance(piece, str):
        return piece
    text = raw(caption, *piece)
    first, space, rest = text.partition(" ")
    if rest and first in ("a", "an"):
        word = rest.split()[0]
        return f"{article(word.lower() if caption.text.isupper() else word)}{space}{rest}"
    return text
