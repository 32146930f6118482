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

    A whole file replaces the one before, so that a run that is killed goes on from the last. Where gradients are half
    gathered, a validation is due or an epoch ends, it waits for a later step: from there Lightning would not go on
    exactly (2.6.6 leaves out the validation, or counts the epoch twice). The last of ``max_steps`` is saved at once: a
    little later Lightning calls its epoch complete, and no run could go on inside it.

    Args:
        every: Optimiser steps between two.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._path: Path | None = None
        self._due = False
        self._seen = 0
        self._cut = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Finds the run's folder."""
        folder = run_folder(trainer)
        self._path = None if folder is None or stage != "fit" else folder / "checkpoints" / "last.ckpt"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts from where the run begins."""
        self._seen = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves when the steps are full, as soon as a run could go on from here."""
        step = trainer.global_step
        self._cut = step == trainer.max_steps
        self._due = self._due or self._cut or step // self.every > self._seen // self.every
        self._seen = step
        loop = trainer.fit_loop.epoch_loop
        fetcher = trainer.fit_loop._data_fetcher
        if not self._due or loop._should_accumulate() or loop._num_ready_batches_reached():
            self._cut = False
            return
        if not self._cut and fetcher is not None and loop._should_check_val_fx(fetcher):
            return
        self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the end of the run, unless ``max_steps`` cut it inside an epoch."""
        if not self._cut:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        self._due = False
        if self._path is not None:
            trainer.save_checkpoint(self._path, weights_only=False)
