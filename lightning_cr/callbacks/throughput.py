"""Samples per second of all processes together, as a moving mean."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import lightning as pl
from lightning.pytorch.callbacks import Callback

__all__ = ["THROUGHPUT", "Throughput"]

THROUGHPUT = "train/samples_per_second"


class Throughput(Callback):
    """Logs ``train/samples_per_second``: loading, step and callbacks counted, validation not.

    Args:
        window: Steps of the moving mean.
    """

    def __init__(self, window: int = 20) -> None:
        self._ends: deque[tuple[float, int]] = deque(maxlen=window + 1)
        self._seen = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins to count."""
        self._restart()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins anew, so that the pause is not taken for slow training."""
        self._restart()

    def _restart(self) -> None:
        self._ends.clear()
        self._ends.append((time.perf_counter(), self._seen))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs the mean over the window."""
        self._seen += len(batch) * trainer.world_size  # every rank has batches of one size
        self._ends.append((time.perf_counter(), self._seen))
        (first, before), (last, now) = self._ends[0], self._ends[-1]
        if last > first:
            rate = (now - before) / (last - first)
            pl_module.log(THROUGHPUT, rate, prog_bar=True, on_step=True, on_epoch=False)
