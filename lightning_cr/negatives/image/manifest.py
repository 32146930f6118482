"""The rows of a store of pictures: what each row says, and how a unit's rows and those of many units are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from lightning_cr.errors import DataError

__all__ = [
    "NOWHERE",
    "SCHEMA",
    "Made",
    "Place",
    "length_of",
    "map_rows",
    "merged_rows",
    "pair_hash",
    "read_unit",
    "unit_rows",
]

_KEY = b"lightning_cr"
_WORD = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class Made:
    """A wrong caption and how its picture was made.

    Attributes:
        key: Names the picture in its shard: letters, digits, ``_`` and ``-``, 90 at most.
        image_id: Of the picture that the caption is of.
        sample_id: Of the pair of picture and caption.
        caption: The true caption.
        negative: The wrong caption, which the picture was made for.
        kind: Of the negative, a slot's name such as ``swap_att``.
        original: The words that were replaced.
        replacement: What stands there now.
        start: First character of the caption that differs by the edit.
        end: One past the last.
        concreteness: Of ``original``, in [0, 1]; None where it was not rated.
        seed: Of this picture.
        pipeline: What made it.
        dropped: Why there is no picture (``blank``: the safety checker's), empty where there is one. Such a row keeps
            the picture from being made again.
        text_margin: Cosine of the picture with the negative less that of the original with it; None before a filter.
        image_margin: Cosine of the original with its caption less that of the picture with it; None before a filter.
    """

    key: str
    image_id: int
    sample_id: int
    caption: str
    negative: str
    kind: str
    original: str
    replacement: str
    start: int
    end: int
    concreteness: float | None
    seed: int
    pipeline: str
    dropped: str
    text_margin: float | None
    image_margin: float | None


class Place(NamedTuple):
    """Where a picture lies in its unit's shard.

    Attributes:
        offset: Of its first byte.
        size: In bytes; 0 where there is no picture.
        sha256: Of its bytes.
    """

    offset: int
    size: int
    sha256: bytes


NOWHERE = Place(0, 0, bytes(32))
"""Of a row without a picture."""

_MADE = {
    **{"key": pa.string(), "image_id": pa.int64(), "sample_id": pa.int64(), "caption": pa.string()},
    **{"negative": pa.string(), "kind": _WORD, "original": pa.string(), "replacement": pa.string()},
    **{"start": pa.int32(), "end": pa.int32(), "concreteness": pa.float32(), "seed": pa.int64(), "pipeline": _WORD},
    **{"dropped": _WORD, "text_margin": pa.float32(), "image_margin": pa.float32()},
}
_PLACE = {"offset": pa.int64(), "size": pa.int64(), "sha256": pa.binary(32)}
SCHEMA = pa.schema(_MADE | {"pair": pa.uint64(), "unit": _WORD, "suffix": _WORD} | _PLACE)
"""The fields of :class:`Made`, :func:`pair_hash`, and where the picture is."""


def pair_hash(image_id: int, caption: str) -> int:
    """64 bits of a picture's number and its caption, by which its rows are found.

    >>> pair_hash(1, "a dog") == pair_hash(1, "a dog") != pair_hash(1, "a cat")
    True
    """
    text = f"{image_id}\n{caption}".encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def unit_rows(unit: str, suffix: str, length: int, rows: Sequence[Made], places: Sequence[Place]) -> bytes:
    """A unit's manifest as Parquet.

    Args:
        unit: Its name.
        suffix: Of its pictures.
        length: Bytes of its shard.
        rows: What was made.
        places: Of each.
    """
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in _MADE}
    columns["pair"] = [pair_hash(row.image_id, row.caption) for row in rows]
    columns["unit"], columns["suffix"] = [unit] * len(rows), [suffix] * len(rows)
    columns |= {name: [getattr(place, name) for place in places] for name in _PLACE}
    sink = pa.BufferOutputStream()
    pq.write_table(_noted(pa.Table.from_pydict(columns, SCHEMA), {"bytes": length}), sink)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def read_unit(path: Path) -> Any:
    """The rows of a unit.

    Raises:
        DataError: The file is no manifest.
    """
    import pyarrow.parquet as pq

    with _errors(path):
        return _plain(pq.ParquetFile(path).read(use_threads=False))  # threads do not live through a fork


def length_of(path: Path) -> int:
    """Bytes of a unit's shard as it was written, 0 where it has none; by the head of its manifest alone.

    Raises:
        DataError: The file is no manifest.
    """
    import pyarrow.parquet as pq

    with _errors(path):
        return int(json.loads(pq.read_schema(path).metadata[_KEY])["bytes"])


def merged_rows(table: Any, sizes: Mapping[str, tuple[int, int]]) -> bytes:
    """The rows of many units as an Arrow file, which can be mapped.

    Args:
        table: Of :data:`SCHEMA`.
        sizes: For each unit the bytes of its manifest and of its shard.
    """
    table = _noted(table.unify_dictionaries().combine_chunks(), sizes)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def map_rows(path: Path) -> tuple[Any, dict[str, tuple[int, int]]]:
    """What :func:`merged_rows` made, mapped; empty where it is missing or damaged, for the units have it all."""
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        sizes = json.loads(table.schema.metadata[_KEY])
        return _plain(table), {unit: (int(manifest), int(shard)) for unit, (manifest, shard) in sizes.items()}
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return SCHEMA.empty_table(), {}


def _noted(table: Any, note: Mapping[str, Any]) -> Any:
    return table.replace_schema_metadata({_KEY: json.dumps(note)})


def _plain(table: Any) -> Any:
    return table.select(SCHEMA.names).cast(SCHEMA)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())[:100]
        raise DataError(
            f"{path} is no manifest of a store ({why}); bring it back, or delete it, and python -m lightning_cr"
            " synthesize makes its pictures again"
        ) from error
