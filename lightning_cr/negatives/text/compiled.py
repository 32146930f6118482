"""The edits of a corpus's captions, weighed once and kept beside the annotation, so that to draw one is to look it up.

What a rule may make of a caption, and how often, is settled by what it has learned, so none of it needs to be found out
again at each draw: not what the caption says, nor what could be changed, nor how likely that is. What a rule draws
before it draws an edit (which concept, which additions to weigh) goes by numbers that are kept too, and takes as many
from the generator; see :class:`~lightning_cr.negatives.text.drawing.ByShare` and its heirs. There is one file for
each rule and shard of the corpus, written whole and named by a digest of all that decides it, as what was learned is.
A rule draws the same from its files as without, bit for bit.
"""

from __future__ import annotations

import logging
import math
import random
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightning_cr.negatives.text.annotation import AnnotatedCorpus
from lightning_cr.negatives.text.base import Negative, SettledRule, TextRule
from lightning_cr.negatives.text.drawing import ByShare
from lightning_cr.negatives.text.learned import LearnedFiles
from lightning_cr.negatives.text.pieces import open_pieces, write_pieces
from lightning_cr.negatives.text.processes import spread
from lightning_cr.negatives.text.shards import Shard, StoredCaption, Strings

__all__ = ["Compiled", "CompiledRule", "compile_rules", "is_settled"]

Compiled = dict[str, dict[str, "CompiledRule"]]
"""Of each shard, by its name, the rules that need not weigh its captions, by their slots."""

log = logging.getLogger(__name__)

_SUFFIX = ".compiled"
_FORMATS = "HIid"
"""Of the numbers in the pieces of a file behind those of the draws; see :class:`_Table`."""

_NOTHING = -1


class CompiledRule:
    """A rule for the captions of one shard; a pickled copy names the file only and maps it again.

    Args:
        path: The file.
        draws: How to draw from it.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """

    def __init__(self, path: Path, draws: type[ByShare]) -> None:
        self.path, self.draws = path, draws
        *numbers, offsets, data = open_pieces(path)
        codes = draws.codes + _FORMATS
        views = [piece.cast("B").cast(code) for piece, code in zip(numbers, codes, strict=True)]  # type: ignore[call-overload]
        *columns, self._starts, self._edits, self._texts, self._ratings = views
        self._drawn = draws(columns)
        self._strings = Strings(np.frombuffer(offsets, np.int32), data)

    def __reduce__(self) -> tuple[type[CompiledRule], tuple[Path, type[ByShare]]]:
        return CompiledRule, (self.path, self.draws)

    def __len__(self) -> int:
        return len(self._drawn)

    def __call__(self, caption: StoredCaption, kind: str, rng: random.Random) -> Negative | None:
        """See :class:`lightning_cr.negatives.text.base.TextRule`."""
        at = self._drawn.draw(caption.row, rng)
        if at < 0:
            return None
        edit, start = self._edits[at], self._starts[at]
        length, middle, original, replacement = self._texts[4 * edit : 4 * edit + 4]
        if length == _NOTHING:
            return None
        text, strings, rating = caption.text, self._strings, self._ratings[edit]
        new = strings[middle]
        return Negative(
            f"{text[:start]}{new}{text[start + length :]}",
            kind,
            strings[original],
            new if replacement == middle else strings[replacement],
            start,
            start + length,
            None if math.isnan(rating) else rating,
        )


def compile_rules(
    files: LearnedFiles,
    corpus: AnnotatedCorpus,
    rules: Mapping[str, TextRule],
    max_words: int,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Compiled:
    """Weighs all edits of a corpus's captions, or finds those that an earlier run has weighed.

    What cannot be written is told in a warning, and drawn as without it.

    Args:
        files: Where what the rules have learned is kept.
        corpus: What they have learned it from.
        rules: By slot.
        max_words: Longer captions get no negatives.
        workers: Processes; the files are the same, byte for byte, for every number.
        progress: Called with the number of captions that are done and of all, each counted once a rule.
    """
    settled = {kind: rule for kind, rule in rules.items() if is_settled(rule)}
    places: list[tuple[str, str, Path]] = []
    missing: dict[Path, tuple[Path, TextRule]] = {}
    ready: dict[Path, CompiledRule] = {}
    sizes = {path: len(Shard.open(path)) for path in corpus.paths}
    for kind, rule in settled.items():
        for shard, size in sizes.items():
            path = files.beside(rule, shard.stem, _SUFFIX)
            places.append((kind, shard.stem, path))
            if path in ready or path in missing:
                continue
            found = _opened(path, size, _draws(rule))
            if found is None:
                missing[path] = shard, rule
            else:
                ready[path] = found
    every = sum(sizes[shard] for shard, _ in missing.values()) + sum(map(len, ready.values()))
    done = sum(map(len, ready.values()))
    if progress:
        progress(done, every)
    numbers = {id(rule): number for number, rule in enumerate(settled.values())}
    jobs = ((path, (shard, numbers[id(rule)])) for path, (shard, rule) in missing.items())
    given = (tuple(settled.values()), max_words)
    try:
        for path in spread(jobs, _write, given, min(workers, len(missing)), "a compiling"):
            ready[path] = CompiledRule(path, _draws(missing[path][1]))
            done += len(ready[path])
            if progress:
                progress(done, every)
    except Exception as error:  # a full disk, a worker without memory, and whatever a user's rule may raise
        log.warning(
            "the weighed edits of captions cannot be kept in '%s' (%s); they are weighed at each draw, which is slower",
            files.folder,
            " ".join(str(error).split())[:300],
        )
    compiled: Compiled = {}
    for kind, name, path in places:  # in the order of the rules
        if path in ready:
            compiled.setdefault(name, {})[kind] = ready[path]
    return compiled


def is_settled(rule: TextRule) -> bool:
    """Whether a rule's own class says that what it may make of a caption is settled: it is a :class:`SettledRule`."""
    return bool(vars(type(rule)).get("settled", False)) and rule.draws is not None


def _draws(rule: TextRule | SettledRule) -> type[ByShare]:
    return rule.draws or ByShare


def _opened(path: Path, rows: int, draws: type[ByShare]) -> CompiledRule | None:
    """What a file holds, or None where there is none or, with a warning, where it is of no use."""
    if not path.exists():
        return None
    try:
        found = CompiledRule(path, draws)
        if len(found) == rows:
            return found
        reason = f"it has {len(found):,} captions, not {rows:,}"
    except Exception as error:  # bytes that are no such file can raise anything
        reason = " ".join(str(error).split())[:200]
    log.warning("the weighed edits are not taken from '%s' (%s); they are weighed anew", path, reason)
    return None


def _write(path: Path, made_from: tuple[Path, int], rules: tuple[SettledRule, ...], max_words: int) -> None:
    place, number = made_from
    shard, rule, rng = Shard.open(place), rules[number], _Unasked()
    table = _Table(_draws(rule))
    for row in range(len(shard)):
        caption = StoredCaption(shard, row)
        # As in TextNegatives; the edits of a caption of thousands of words would be millions.
        if len(caption.text.split(maxsplit=max_words)) > max_words or len(caption.tokens) < 2:
            table.add(caption, None)
        else:
            table.add(caption, rule.choices(caption, "", rng))
    write_pieces(path, table.pieces())


class _Unasked(random.Random):
    """A generator that must not be asked: what depends on it is not settled."""

    def random(self) -> float:
        """Refuses."""
        raise ValueError("a rule that says it is settled asks for randomness")

    def getrandbits(self, k: int, /) -> int:
        """Refuses."""
        return int(self.random())


class _Table:
    """What a file holds, as it grows.

    What the draws go by; of each edit where it starts, and which one it is; of each of those, as many captions have the
    same, how long what goes is, the numbers of three strings (what comes, and the two of the record), and the rating;
    the strings.
    """

    def __init__(self, draws: type[ByShare]) -> None:
        self._draws = draws()
        self._numbers: list[array[Any]] = [array(code) for code in _FORMATS]
        self._starts, self._edits, self._texts, self._ratings = self._numbers
        self._known: dict[Any, int] = {}
        self._strings: dict[str, int] = {}

    def add(self, caption: StoredCaption, choices: Any) -> None:
        """Adds what may be made of the next caption."""
        for negative in self._draws.add(choices):
            self._starts.append(negative.start if negative else 0)
            edit = self._edit(caption.text, negative)
            number = self._known.setdefault(edit, len(self._known))
            self._edits.append(number)
            if 4 * number == len(self._texts):
                *texts, rating = edit
                self._texts.extend(texts)
                self._ratings.append(math.nan if rating is None else rating)

    def _edit(self, text: str, negative: Negative | None) -> tuple[Any, ...]:
        if negative is None:
            return (_NOTHING, 0, 0, 0, None)
        start, end = negative.start, negative.end
        middle = negative.text[start : len(negative.text) - (len(text) - end)]
        if f"{text[:start]}{middle}{text[end:]}" != negative.text:
            raise ValueError(f"{negative.text[:60]!r} differs outside its span from {text[:60]!r}")
        words = (middle, negative.original, negative.replacement)
        strings = (self._strings.setdefault(word, len(self._strings)) for word in words)
        return (end - start, *strings, negative.concreteness)

    def pieces(self) -> list[memoryview]:
        """What is written."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in self._strings]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
        return [
            *(memoryview(numbers) for numbers in [*self._draws.columns, *self._numbers]),
            offsets.data,
            memoryview(b"".join(encoded)),
        ]
