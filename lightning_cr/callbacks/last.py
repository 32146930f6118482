"""``last.ckpt``: the state to go on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as pl
from lightning.pytorch.callbacks import Checkpoint

from lightning_cr.callbacks.files import run_folder

__all__ = ["LastCheckpoint"]


class LastCheckpoint(Checkpoint):
    """Writes ``checkpoints/last.ckpt`` every so many optimiser steps, and at the end of the run.

    A whole file replaces the one before, so that a run that is killed goes on from the last.

    Args:
        every: Optimiser steps between two.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._path: Path | None = None
        self._saved = -1

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Finds the run's folder."""
        folder = run_folder(trainer)
        self._path = None if folder is None or stage != "fit" else folder / "checkpoints" / "last.ckpt"

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves when the steps are full."""
        step = trainer.global_step
        if step > 0 and step % self.every == 0 and step != self._saved:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the end of the run."""
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        self._saved = trainer.global_step
        if self._path is not None:
            trainer.save_checkpoint(self._path, weights_only=False)
