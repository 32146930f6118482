"""Several benchmarks as one list of pictures and one of captions, so that each is encoded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_cr.benchmarks.base import Benchmark, Embedded, Picture
from lightning_cr.encoders.base import Preprocess, Tokenizer, tokenize
from lightning_cr.errors import DataError

__all__ = ["EncodeChunk", "EncodeItems", "Suite"]


class Suite:
    """The union of opened benchmarks' pictures and captions.

    Args:
        benchmarks: By name.

    Attributes:
        pictures: All distinct ones, in the order in which they come.
        captions: All distinct ones, by exact text.
    """

    def __init__(self, benchmarks: Mapping[str, Benchmark]) -> None:
        pictures: dict[Picture, int] = {}
        captions: dict[str, int] = {}
        self._rows = {}
        for name, benchmark in benchmarks.items():
            image = [pictures.setdefault(picture, len(pictures)) for picture in benchmark.pictures]
            text = [captions.setdefault(caption, len(captions)) for caption in benchmark.captions]
            self._rows[name] = torch.tensor(image, dtype=torch.long), torch.tensor(text, dtype=torch.long)
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
        rows: ``(N,)``, which pictures or captions they are.
        unread: ``(N,)`` bool, which of them could not be read.
        images: ``(read, 3, S, S)`` uint8; None for captions, and where no picture could be read.
        tokens: ``(N, L)``; None for pictures.
        skipped: One line for each picture that could not be read.
        full: Captions that fill the text tower's context: what does not fit is cut off.
    """

    rows: Tensor
    unread: Tensor
    images: Tensor | None = None
    tokens: Tensor | None = None
    skipped: list[str] = field(default_factory=list)
    full: int = 0


class EncodeItems(Dataset[EncodeChunk]):
    """All that is to be encoded, in chunks: pictures first, then captions from short to long.

    Args:
        suite: What.
        tokenizer: Of the text tower.
        preprocess: Of the image tower.
        size: Rows of a chunk.
    """

    def __init__(self, suite: Suite, tokenizer: Tokenizer, preprocess: Preprocess, size: int) -> None:
        self.suite = suite
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.context = tokenizer([""]).shape[1]
        # Captions of like length share a chunk, so that little padding is encoded.
        lengths = torch.tensor([len(text) for text in suite.captions])
        self.chunks = [(True, rows) for rows in torch.split(torch.arange(len(suite.pictures)), size) if len(rows)]
        self.chunks += [(False, rows) for rows in torch.split(lengths.argsort(stable=True), size) if len(rows)]

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> EncodeChunk:
        """The chunk at an index."""
        is_image, rows = self.chunks[index]
        unread = torch.zeros(len(rows), dtype=torch.bool)
        if not is_image:
            texts = [self.suite.captions[int(row)] for row in rows]
            tokens = tokenize(self.tokenizer, texts)
            fills = tokens.shape[1] == self.context
            full = int((tokens[:, -1] != self.tokenizer.pad_id).sum()) if fills else 0
            return EncodeChunk(rows, unread, tokens=tokens, full=full)
        pixels, skipped = [], []
        for number, row in enumerate(rows.tolist()):
            try:
                pixels.append(self.suite.pictures[row].pixels(self.preprocess))
            except DataError as error:
                unread[number] = True
                skipped.append(str(error))
        return EncodeChunk(rows, unread, images=torch.stack(pixels) if pixels else None, skipped=skipped)
