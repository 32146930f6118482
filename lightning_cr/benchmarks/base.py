"""The door of a benchmark: it lists pictures and captions, each encoded once, and scores their unit vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_cr.encoders.base import Preprocess, Tokenizer, tokenize
from lightning_cr.errors import DataError

__all__ = ["Benchmark", "EncodeChunk", "EncodeItems", "Pictures", "Score", "preferred"]


@dataclass(frozen=True)
class Score:
    """One figure of a benchmark.

    Attributes:
        value: Accuracy in 0..1.
        n: Number of items it is a mean over.
        ties: Items where true and false had exactly the same similarity; they count as wrong.
    """

    value: float
    n: int
    ties: int = 0


class Pictures(Protocol):
    """Held-out pictures with their captions, as a data source offers them."""

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        ...

    def picture(self, index: int) -> Tensor:
        """One picture, ``(3, S, S)`` uint8."""
        ...

    def captions(self, index: int) -> list[str]:
        """The captions of one picture."""
        ...


class Benchmark(ABC):
    """A set of pictures and captions with a rule that scores their similarities.

    Attributes:
        captions: The distinct captions.
        pictures: Number of distinct pictures.
        reads_files: Whether loading is worth worker processes.
        headline: Name of the score that says it in one number; ``best.ckpt`` goes by the mean of these.
    """

    captions: Sequence[str] = ()
    pictures: int = 0
    reads_files: bool = True
    headline: str = ""

    @abstractmethod
    def open(self, root: Path | None, preprocess: Preprocess, held_out: Pictures) -> None:
        """Finds the data.

        Args:
            root: ``--data.root``.
            preprocess: What the encoder wants of pixels.
            held_out: The held-out split of the data source.

        Raises:
            DataError: Something is missing or unreadable.
        """

    @abstractmethod
    def picture(self, index: int) -> Tensor:
        """One picture, ``(3, S, S)`` uint8.

        Raises:
            DataError: It cannot be read; its row of vectors is then NaN, and :meth:`score` leaves its items out.
        """

    @abstractmethod
    def score(self, image: Tensor, text: Tensor) -> dict[str, Score]:
        """Scores the unit vectors.

        Args:
            image: ``(pictures, D)`` fp32, in the order of :meth:`picture`; NaN where a picture could not be read.
            text: ``(len(captions), D)`` fp32, in the order of :attr:`captions`.

        Raises:
            DataError: No picture could be read.
        """


def preferred(true: Tensor, *false: Tensor) -> Score:
    """Share of items where the true similarity is above every false one; ties are wrong and counted.

    >>> preferred(torch.tensor([0.3, 0.2]), torch.tensor([0.1, 0.2]))
    Score(value=0.5, n=2, ties=1)
    """
    best = torch.stack(false).amax(0)
    n = len(true)
    return Score(float((true > best).double().mean()) if n else 0.0, n, int((true == best).sum()))


@dataclass
class EncodeChunk:
    """Some pictures or some captions of a benchmark.

    Attributes:
        rows: ``(N,)``, which pictures or captions they are.
        unread: ``(N,)`` bool, which of them could not be read.
        images: ``(read, 3, S, S)`` uint8; None for captions, and where no picture could be read.
        tokens: ``(N, L)``; None for pictures.
        skipped: One line for each picture that could not be read.
    """

    rows: Tensor
    unread: Tensor
    images: Tensor | None = None
    tokens: Tensor | None = None
    skipped: list[str] = field(default_factory=list)


class EncodeItems(Dataset[EncodeChunk]):
    """All that a benchmark wants encoded, in chunks: pictures first, then captions from short to long.

    Args:
        benchmark: An opened benchmark.
        tokenizer: Of the text tower.
        size: Rows of a chunk.
    """

    def __init__(self, benchmark: Benchmark, tokenizer: Tokenizer, size: int) -> None:
        self.benchmark = benchmark
        self.tokenizer = tokenizer
        # Captions of like length share a chunk, so that little padding is encoded.
        lengths = torch.tensor([len(text) for text in benchmark.captions])
        self.chunks = [(True, rows) for rows in torch.split(torch.arange(benchmark.pictures), size) if len(rows)]
        self.chunks += [(False, rows) for rows in torch.split(lengths.argsort(), size) if len(rows)]

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> EncodeChunk:
        """The chunk at an index."""
        is_image, rows = self.chunks[index]
        unread = torch.zeros(len(rows), dtype=torch.bool)
        if not is_image:
            texts = [self.benchmark.captions[int(row)] for row in rows]
            return EncodeChunk(rows, unread, tokens=tokenize(self.tokenizer, texts))
        pictures, skipped = [], []
        for number, row in enumerate(rows.tolist()):
            try:
                pictures.append(self.benchmark.picture(row))
            except DataError as error:
                unread[number] = True
                skipped.append(str(error))
        return EncodeChunk(rows, unread, images=torch.stack(pictures) if pictures else None, skipped=skipped)
