"""No pairs at all: for a test of benchmarks that bring their own data."""

from __future__ import annotations

import random
from pathlib import Path

from lightning_cr.benchmarks.base import Picture
from lightning_cr.data.base import Sample, Source, Split
from lightning_cr.encoders.base import Preprocess

__all__ = ["OnlyBenchmarks"]


class _Empty(Split):
    pictures = 0

    def __len__(self) -> int:
        return 0

    def sample(self, index: int, rng: random.Random, epoch: int) -> Sample:
        raise IndexError(index)

    def picture(self, index: int) -> Picture:
        raise IndexError(index)

    def captions(self, index: int) -> list[str]:
        raise IndexError(index)


class OnlyBenchmarks(Source):
    """Nothing to train on and no held-out split; ``--data.root`` is where the benchmarks look.

    Args:
        max_skipped: Pictures of benchmarks that cannot be read, to put up with; their examples are left out.
    """

    no_training = (
        "data.source is OnlyBenchmarks, which is for test and validate; to train lay configs/coco.yaml over the method"
    )

    def __init__(self, max_skipped: int = 0) -> None:
        self.max_skipped = max_skipped

    def open(self, root: Path | None, preprocess: Preprocess, seed: int) -> tuple[Split, Split]:
        """Two splits without samples."""
        return _Empty(), _Empty()
