"""Which pictures to make: each wrong caption of a corpus once, with a name and a seed of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from lightning_cr.data.base import sample_rng
from lightning_cr.data.coco import CocoSplit
from lightning_cr.negatives.text import Negative, TextNegatives
from lightning_cr.negatives.text.base import AnnotatedCaption

__all__ = ["SCHEMA", "digest_of", "draw", "seed_of"]

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("key", "caption", "negative", "kind", "original", "replacement")]
    + [(name, pa.int64()) for name in ("image_id", "sample_id", "start", "end", "seed")]
    + [("concreteness", pa.float64())]
)
"""A row a picture; the columns are those of :class:`lightning_cr.negatives.image.store.Made`."""
_ROWS = 10_000


def digest_of(*parts: Any) -> str:
    """32 hexadecimal digits that name what can be written as JSON."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def seed_of(seed: int, image_id: int, sample_id: int, caption: str, negative: str) -> int:
    """The seed of a picture, in 0 .. 2^63 - 1: the same for every pipeline, number of processes and order."""
    return int(digest_of(seed, image_id, sample_id, caption, negative)[:16], 16) >> 1


def draw(
    split: CocoSplit,
    negatives: TextNegatives,
    corpus: Sequence[AnnotatedCaption] | None,
    seed: int,
    rounds: int,
    recipe: str,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """Draws the negatives of all captions of a split.

    Round by round, so that a later run with more rounds goes on behind what an earlier one made; a negative that comes
    again is there once.

    Args:
        split: Its captions, and the negatives that it gives itself.
        negatives: The text rules; what the split gives is preferred to them, as in training.
        corpus: The captions as they were annotated once, by sample id; None has the tagger asked.
        seed: Of the draws and the pictures.
        rounds: Draws of each slot a caption.
        recipe: Digest of what else decides the pixels.
        limit: Pictures at most.
        progress: Told of the captions drawn from, and of all.

    Returns:
        Rows of :data:`SCHEMA`.
    """
    batches, rows = [], []
    for row in _distinct(_rows(split, negatives, corpus, seed, rounds, recipe, progress), limit):
        rows.append(row)
        if len(rows) == _ROWS:
            batches.append(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
            rows = []
    return pa.Table.from_batches([*batches, pa.RecordBatch.from_pylist(rows, schema=SCHEMA)], schema=SCHEMA)


def _distinct(rows: Iterator[dict[str, Any]], limit: int | None) -> Iterator[dict[str, Any]]:
    seen: set[bytes] = set()
    for row in rows:
        if limit is not None and len(seen) >= limit:
            return
        key = bytes.fromhex(row["key"])
        if key not in seen:
            seen.add(key)
            yield row


def _rows(
    split: CocoSplit,
    negatives: TextNegatives,
    corpus: Sequence[AnnotatedCaption] | None,
    seed: int,
    rounds: int,
    recipe: str,
    progress: Callable[[int, int], None] | None,
) -> Iterator[dict[str, Any]]:
    captions = len(split.texts)
    for number in range(rounds):
        for index in range(captions):
            rng = sample_rng(seed, number, index)
            sample = split.unpictured(index, rng)
            made = negatives(corpus[index] if corpus else sample.caption, rng, split.accepts)
            slots: dict[str, Negative | None] = dict(zip(negatives.kinds, made, strict=True))
            slots |= {kind: negative for kind, (negative, _) in (sample.negatives or {}).items()}
            for kind, negative in slots.items():
                if negative is None:
                    continue
                about = (seed, sample.image_id, sample.sample_id, sample.caption, negative.text)
                yield {
                    "key": digest_of(*about, recipe),
                    "image_id": sample.image_id,
                    "sample_id": sample.sample_id,
                    "caption": sample.caption,
                    "negative": negative.text,
                    "kind": kind,
                    "original": negative.original,
                    "replacement": negative.replacement,
                    "start": negative.start,
                    "end": negative.end,
                    "concreteness": negative.concreteness,
                    "seed": seed_of(*about),
                }
            if progress is not None and index % 512 == 511:
                progress(number * captions + index + 1, rounds * captions)
