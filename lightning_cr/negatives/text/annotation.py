"""Annotated captions on disk: made once a corpus, in Arrow files that every worker maps and none copies.

The captions are cut into shards. Each is one file, written whole and named by a digest of all that decides its content,
so a run that was killed goes on where it stopped, corpora share what they have in common, and nothing is ever stale.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import math
import operator
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from lightning_cr.errors import ConfigError, DataError
from lightning_cr.negatives.text import inflection, morphology, shards, tagging
from lightning_cr.negatives.text.base import AnnotatedCaption
from lightning_cr.negatives.text.processes import spread
from lightning_cr.negatives.text.shards import Phrase, Ratings, Shard, StoredCaption, write_shard
from lightning_cr.negatives.text.tagging import Tagger

__all__ = ["AnnotatedCorpus", "Phrase", "Ratings", "annotate", "code_digest"]

_SHARD = 20_000
_STALE_AFTER = 3600.0  # seconds; no shard takes that long, so whoever wrote the temporary file is dead


class AnnotatedCorpus(Sequence[AnnotatedCaption]):
    """Annotated captions in memory-mapped shards; a caption is built when it is asked for, and not kept.

    A pickled copy names the files only and maps them again, so DataLoader workers share one copy of the data.

    Args:
        paths: The shards in order, as :func:`annotate` made them.

    Raises:
        DataError: A shard is missing or damaged.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(Path(path).resolve() for path in paths)
        self._shards = [Shard.open(path) for path in self.paths]
        self._ends = list(itertools.accumulate(len(shard) for shard in self._shards))

    def __reduce__(self) -> tuple[type[AnnotatedCorpus], tuple[tuple[Path, ...]]]:
        return AnnotatedCorpus, (self.paths,)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> StoredCaption:  # type: ignore[override]
        shard, row = self._find(index)
        return StoredCaption(shard, row)

    def text(self, index: int) -> str:
        """A caption without its annotation."""
        shard, row = self._find(index)
        return shard.texts[row]

    def lemmas(self, index: int) -> tuple[str, ...]:
        """The base form of each token, in lower case."""
        shard, row = self._find(index)
        return tuple([shard.words[word] for word in shard.of(row, shard.lemmas)])

    def phrases(self, index: int) -> tuple[Phrase, ...]:
        """The noun phrases in order."""
        shard, row = self._find(index)
        begin, end = shard.phrase_offsets[row : row + 2].tolist()
        return tuple(map(Phrase._make, zip(*(part[begin:end].tolist() for part in shard.phrases), strict=True)))

    def concreteness(self, index: int) -> tuple[float, ...]:
        """Of each token in [0, 1]; NaN where it is not rated, and everywhere if no ratings were given."""
        shard, row = self._find(index)
        if shard.ratings is None:
            return (math.nan,) * len(shard.of(row, shard.tags))
        return tuple(shard.of(row, shard.ratings))

    @property
    def problems(self) -> dict[str, int]:
        """How many captions are unusual: counts by kind; a caption may count in several.

        ``empty`` (no word or mark), ``too_long`` (more than 65,535 characters: kept without tokens), ``many_words``
        (more than 80), ``control``, ``emoji``, ``other_script`` and ``surrogate`` (holds such a character).
        """
        total: Counter[str] = Counter()
        for shard in self._shards:
            total.update(shard.about["problems"])
        return dict(sorted(total.items()))

    def _find(self, index: int) -> tuple[Shard, int]:
        at = operator.index(index)
        size = len(self)
        if not -size <= at < size:
            raise IndexError(f"caption {at} of {size}")
        at %= size
        number = bisect.bisect_right(self._ends, at)
        return self._shards[number], at - (self._ends[number - 1] if number else 0)


def annotate(
    captions: Sequence[str],
    tagger: Tagger,
    folder: Path,
    workers: int = 0,
    concreteness: Ratings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AnnotatedCorpus:
    """Annotates captions, or finds what was annotated before.

    Args:
        captions: Any number; only a shard of them is held at a time.
        tagger: Gives the tags.
        folder: Where the shards are; it may hold those of other corpora.
        workers: Processes; 0 works in this one. The files are the same, byte for byte, for every number. A script
            that asks for some needs the usual ``if __name__ == "__main__":``, since they are spawned.
        concreteness: Rates the tokens, if wanted.
        progress: Called with the number of captions that are done and of all.

    Raises:
        ConfigError: A negative number of workers.
        DataError: A caption is no text, the tagger's data is missing, or the folder cannot be written.
    """
    if workers < 0:
        raise ConfigError(f"workers is {workers}; it must be 0 (this process) or more")
    recipe = _recipe(tagger, concreteness)
    parts = [range(first, min(first + _SHARD, len(captions))) for first in range(0, len(captions), _SHARD)]
    paths = [Path(folder) / f"{_digest(recipe, _texts(captions, part), part.start)}.arrow" for part in parts]
    missing = {path: part for path, part in zip(paths, parts, strict=True) if not _is_whole(path, len(part))}
    copies = Counter(paths)
    done = len(captions) - sum(len(part) * copies[path] for path, part in missing.items())
    if progress:
        progress(done, len(captions))
    _sweep(Path(folder))
    jobs = ((path, _texts(captions, part)) for path, part in missing.items())
    given = (tagger, concreteness)
    for path in spread(jobs, write_shard, given, min(workers, len(missing)), "an annotation"):
        done += len(missing[path]) * copies[path]
        if progress:
            progress(done, len(captions))
    return AnnotatedCorpus(paths)


def _texts(captions: Sequence[str], part: range) -> list[str]:
    return [captions[index] for index in part]


@cache
def code_digest(path: str | None) -> str:
    """A digest of a file, or our release where it cannot be read: new rules must not find what the old ones made."""
    try:
        return hashlib.blake2b(Path(path or "").read_bytes(), digest_size=16).hexdigest()
    except OSError:
        from lightning_cr import __version__

        return __version__


def _recipe(tagger: Tagger, concreteness: Ratings | None) -> str:
    """All that decides a shard's content besides its captions."""
    modules = [tagging, morphology, inflection, shards]
    source = None
    if concreteness is not None:
        modules.append(sys.modules[type(concreteness).__module__])
        norms = Path(concreteness.source).expanduser()
        source = (concreteness.source, code_digest(str(norms)) if norms.is_file() else None)
    code = [code_digest(getattr(module, "__file__", None)) for module in modules]
    return json.dumps([tagger.name, tagger.version, source, code])


def _digest(recipe: str, texts: list[str], first: int) -> str:
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"caption {first + index} is {text!r:.60}, no text; every caption must be a string")
    digest = hashlib.blake2b(recipe.encode(), digest_size=20)
    digest.update(json.dumps([len(text) for text in texts]).encode())
    digest.update("".join(texts).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _is_whole(path: Path, rows: int) -> bool:
    if not path.exists():
        return False
    try:
        shard = Shard.open(path)
    except DataError:
        return False
    return len(shard) == rows and shard.about.get("checksum") == shard.checksum()


def _sweep(folder: Path) -> None:
    """Removes what killed runs left half written; a run beside this one keeps its own."""
    for path in folder.glob("*.tmp"):
        if time.time() - path.stat().st_mtime > _STALE_AFTER:
            path.unlink(missing_ok=True)
