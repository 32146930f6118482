"""Words that a language model filled into captions, on disk: made once a corpus, mapped by every worker.

A folder holds Arrow files of some thousand captions each, all made by one model under the same settings. A caption is
found by a digest of its text, so a folder serves whatever source, order and split its captions come in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from lightning_cr.errors import DataError
from lightning_cr.negatives.text.candidates import Role
from lightning_cr.negatives.text.shards import write_whole

__all__ = ["Fill", "Fills", "read_about", "shards_in", "write_fills"]

_KEY = b"lightning_cr"
_ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Fill:
    """What can stand in one place of a caption.

    Attributes:
        role: What stands there now.
        start: First character of what is replaced.
        end: One past the last.
        words: What the model found likely there and the guards let pass, likeliest first.
    """

    role: Role
    start: int
    end: int
    words: tuple[str, ...]


class Fills:
    """The fills of a folder; a pickled copy names the folder only and maps its files again.

    Args:
        folder: Where ``python -m lightning_cr fill`` wrote them; opened at the first question, so that an evaluation,
            which asks none, does not need it.

    Raises:
        DataError: At the first question: it holds no fills, or damaged ones.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._shards: list[_Shard] | None = None

    def __reduce__(self) -> tuple[type[Fills], tuple[str]]:
        return Fills, (self.folder,)

    def __len__(self) -> int:
        self._open()
        return len(self._keys)

    def of(self, caption: str) -> list[Fill] | None:
        """What can be put into a caption, place by place; None where it was not among those that were filled."""
        shards = self._open()
        key = _digest(caption)
        at = int(np.searchsorted(self._keys, key))
        if at == len(self._keys) or self._keys[at] != key:
            return None
        number, row = divmod(int(self._places[at]), 1 << 32)
        return shards[number].fills(row)

    def _open(self) -> list[_Shard]:
        if self._shards is None:
            paths = shards_in(Path(self.folder))
            if not paths:
                raise DataError(
                    f"there are no fills in '{self.folder}'; make them once:"
                    f" python -m lightning_cr fill --captions FILE --out {self.folder}"
                )
            shards = [_Shard(path) for path in paths]
            keys = np.concatenate([shard.keys for shard in shards])
            places = np.concatenate(
                [np.arange(len(shard.keys)) + (number << 32) for number, shard in enumerate(shards)]
            )
            self._keys, first = np.unique(keys, return_index=True)
            self._places = places[first]
            self._shards = shards
        return self._shards


class _Shard:
    """Views of one file's columns; nothing is copied."""

    def __init__(self, path: Path) -> None:
        batch = _read(path)
        self.keys = batch.column("key").to_numpy()
        places = batch.column("places")
        self._offsets = places.offsets.to_numpy()
        self._role, self._start, self._end = (places.values.field(name).to_numpy() for name in ("role", "start", "end"))
        words = places.values.field("words")
        self._word_offsets, self._words = words.offsets.to_numpy(), words.values.indices.to_numpy()
        self._vocabulary = words.values.dictionary

    def fills(self, row: int) -> list[Fill]:
        begin, end = self._offsets[row : row + 2].tolist()
        found = []
        for at in range(begin, end):
            first, last = self._word_offsets[at : at + 2].tolist()
            words = tuple([self._vocabulary[word].as_py() for word in self._words[first:last].tolist()])
            found.append(Fill(_ROLES[self._role[at]], int(self._start[at]), int(self._end[at]), words))
        return found


def shards_in(folder: Path) -> list[Path]:
    """The files of a folder, in the order of their names."""
    return sorted(folder.glob("*.arrow"))


def read_about(path: Path) -> dict[str, Any]:
    """What a file says of how it was made.

    Raises:
        DataError: It is damaged, or holds something else.
    """
    about: dict[str, Any] = json.loads(_read(path).schema.metadata[_KEY])
    return about


def write_fills(path: Path, captions: Sequence[str], fills: Sequence[Sequence[Fill]], about: dict[str, Any]) -> None:
    """Writes a file whole: it is there with all it should hold, or it is not there.

    Args:
        path: Its name.
        captions: The texts.
        fills: Of each.
        about: How they were made.

    Raises:
        DataError: It cannot be written.
    """
    write_whole(path, _build(captions, fills, about), "fills")


def _build(captions: Sequence[str], fills: Sequence[Sequence[Fill]], about: dict[str, Any]) -> Any:
    flat = [fill for found in fills for fill in found]
    words = [word for fill in flat for word in fill.words]
    places = pa.StructArray.from_arrays(
        [
            pa.array([_ROLES.index(fill.role) for fill in flat], pa.uint8()),
            pa.array([fill.start for fill in flat], pa.uint16()),
            pa.array([fill.end for fill in flat], pa.uint16()),
            pa.ListArray.from_arrays(
                _offsets(len(fill.words) for fill in flat), pa.array(words, pa.string()).dictionary_encode()
            ),
        ],
        ["role", "start", "end", "words"],
    )
    columns = {
        "key": pa.array([_digest(text) for text in captions], pa.uint64()),
        "places": pa.ListArray.from_arrays(_offsets(len(found) for found in fills), places),
    }
    return pa.RecordBatch.from_pydict(columns).replace_schema_metadata({_KEY: json.dumps(about).encode()})


def _offsets(lengths: Iterator[int]) -> Any:
    return pa.array(np.cumsum([0, *lengths]), pa.int32())


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _read(path: Path) -> Any:
    try:
        # Closing gives the descriptor back; the map lives as long as a view of it.
        with pa.memory_map(str(path)) as source:
            batch = pa.ipc.open_file(source).get_batch(0)
        batch.schema.metadata[_KEY]
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"'{path}' is damaged ({reason}); delete it and run the command fill again") from error
    return batch
