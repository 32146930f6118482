"""Several benchmarks as one list of pictures and one of captions, so that each is encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_cr.benchmarks.base import Benchmark, Embedded, Picture
from lightning_cr.benchmarks.embedding_cache import EmbeddingCache, chunk_key
from lightning_cr.encoders.base import Preprocess, Tokenizer, is_cut, tokenize
from lightning_cr.errors import DataError

__all__ = ["EncodeChunk", "EncodeItems", "Suite"]


class Suite:
    """The union of opened benchmarks' pictures and captions.

    Args:
        benchmarks: By name.

    Attributes:
        pictures: All distinct ones, in the order in which they come.
        captions: All distinct ones, by exact text.
        added: Of each benchmark the places of the pictures and of the captions that none before it has.
    """

    def __init__(self, benchmarks: Mapping[str, Benchmark]) -> None:
        pictures: dict[Picture, int] = {}
        captions: dict[str, int] = {}
        self._rows = {}
        self.added: list[tuple[range, range]] = []
        for name, benchmark in benchmarks.items():
            before = len(pictures), len(captions)
            image = [pictures.setdefault(picture, len(pictures)) for picture in benchmark.pictures]
            text = [captions.setdefault(caption, len(captions)) for caption in benchmark.captions]
            self._rows[name] = torch.tensor(image, dtype=torch.long), torch.tensor(text, dtype=torch.long)
            self.added.append((range(before[0], len(pictures)), range(before[1], len(captions))))
        self.pictures = list(pictures)
        self.captions = list(captions)

    def similarity(self, name: str, image: Tensor, text: Tensor) -> Embedded:
        """The vectors of one benchmark.

        Args:
            name: Of the benchmark.
            image: ``(pictures, D)`` of all.
            text: ``(captions, D)`` of all.
        """
        pictures, captions = self._rows[name]
        return Embedded(image[pictures], text[captions])


@dataclass
class EncodeChunk:
    """Some pictures or some captions.

    Attributes:
        room: Which of the two.
        rows: ``(N,)``, which pictures or captions they are.
        unread: ``(N,)`` bool, which of them could not be read.
        images: ``(read, 3, S, S)`` uint8; None for captions, and where no picture could be read.
        tokens: ``(N, L)``; None for pictures.
        vectors: ``(N, D)`` fp32 from the cache; then there are neither images nor tokens. An array, for Lightning casts
            tensors of a batch to the precision of the run.
        key: Under which the vectors are to be kept, if all could be read; empty where they are not.
        skipped: One line for each picture that could not be read.
        cut: ``(N,)`` bool, which captions are longer than the text tower's context, so that their end is cut off.
    """

    room: Literal["image", "text"]
    rows: Tensor
    unread: Tensor
    images: Tensor | None = None
    tokens: Tensor | None = None
    vectors: np.ndarray[Any, np.dtype[np.float32]] | None = None
    key: str = ""
    skipped: list[str] = field(default_factory=list)
    cut: Tensor | None = None


class EncodeItems(Dataset[EncodeChunk]):
    """All that is to be encoded, in chunks: pictures first, then captions.

    A chunk never spans two benchmarks, so that one more at the end leaves the others' chunks as they were. Captions of
    a benchmark go from short to long: those of like length share a chunk, so that little padding is encoded.

    Args:
        suite: What.
        tokenizer: Of the text tower.
        preprocess: Of the image tower.
        size: Rows of a chunk, at the most.
        cache: Where vectors may be found; None decodes and encodes all.
    """

    def __init__(
        self,
        suite: Suite,
        tokenizer: Tokenizer,
        preprocess: Preprocess,
        size: int,
        cache: EmbeddingCache | None = None,
    ) -> None:
        self.suite = suite
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.cache = cache
        self.context = tokenizer([""]).shape[1]
        self.chunks: list[tuple[Literal["image", "text"], list[int]]] = []
        for pictures, _ in suite.added:
            self.chunks += [("image", rows) for rows in _split(pictures, size)]
        for _, captions in suite.added:
            by_length = sorted(captions, key=lambda row: len(suite.captions[row]))
            self.chunks += [("text", rows) for rows in _split(by_length, size)]

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> EncodeChunk:
        """The chunk at an index, with its vectors if they are known.

        Raises:
            DataError: The cache holds what nobody wrote there.
        """
        room, rows = self.chunks[index]
        chunk = EncodeChunk(room, torch.tensor(rows), torch.zeros(len(rows), dtype=torch.bool))
        if room == "text":
            self._tokenize(chunk, [self.suite.captions[row] for row in rows])
        else:
            self._load(chunk, [self.suite.pictures[row] for row in rows])
        return chunk

    def _tokenize(self, chunk: EncodeChunk, texts: list[str]) -> None:
        tokens = tokenize(self.tokenizer, texts)
        chunk.cut = torch.zeros(len(texts), dtype=torch.bool)
        if tokens.shape[1] == self.context:
            filling = (tokens[:, -1] != self.tokenizer.pad_id).nonzero()[:, 0]
            chunk.cut[filling] = is_cut(self.tokenizer, [texts[row] for row in filling.tolist()], tokens[filling])
        # All that the text tower sees: what the tokenizer is need not be known.
        if not self._find(chunk, [str(tokens.shape).encode(), tokens.numpy().tobytes()]):
            chunk.tokens = tokens

    def _load(self, chunk: EncodeChunk, pictures: list[Picture]) -> None:
        if self.cache is not None:
            try:
                contents = [picture.content() for picture in pictures]
            except DataError:
                contents = []  # what cannot be read is told below, in each test anew
            if contents and self._find(chunk, contents):
                return
        pixels = []
        for number, picture in enumerate(pictures):
            try:
                pixels.append(picture.pixels(self.preprocess))
            except DataError as error:
                chunk.unread[number] = True
                chunk.skipped.append(str(error))
        chunk.images = torch.stack(pixels) if pixels else None

    def _find(self, chunk: EncodeChunk, contents: list[bytes]) -> bool:
        """Whether the cache has the vectors; the chunk gets them, or the key to keep them under."""
        if self.cache is None:
            return False
        key = chunk_key([chunk.room.encode(), *contents])
        found = self.cache.read(key, len(chunk.rows))
        chunk.vectors = None if found is None else found.numpy()
        chunk.key = key if chunk.vectors is None else ""
        return chunk.vectors is not None


def _split(rows: Sequence[int], size: int) -> Iterator[list[int]]:
    return (list(rows[at : at + size]) for at in range(0, len(rows), size))
