"""``best.ckpt``: the state with the best scores, over resumes too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lightning as pl
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_cr.errors import CheckpointError
from lightning_cr.files import reason, whole_file

__all__ = ["BestCheckpoint"]


class BestCheckpoint(ModelCheckpoint):
    """Writes ``checkpoints/best.ckpt`` when the mean of the benchmarks' headline scores is higher than ever.

    A run that goes on with another has a folder of its own, for which Lightning would forget the score: any first
    validation would be the best. Here score and file are taken over, if both runs measure the same.

    Args:
        benchmarks: The configuration of what is measured; scores of others are not compared.
    """

    def __init__(self, benchmarks: dict[str, Any]) -> None:
        super().__init__(filename="best", monitor="headline", mode="max", enable_version_counter=False)
        self._benchmarks = json.dumps(benchmarks, sort_keys=True)

    @property
    def state_key(self) -> str:
        """The name under which a checkpoint holds the score: another one for other benchmarks."""
        return super().state_key + self._benchmarks

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the score over; Lightning would, if the folder were the same."""
        super().load_state_dict(state_dict | {"dirpath": self.dirpath})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copies the best file of the run that this one goes on with, so that its own folder has it."""
        super().on_train_start(trainer, pl_module)
        own = Path(self.dirpath or "") / "best.ckpt"
        if not self.best_k_models or str(own) in self.best_k_models:
            return
        beside = Path(trainer.ckpt_path or own).with_name("best.ckpt")  # a run's folder may have been moved
        before = beside if beside.is_file() else Path(self.best_model_path)
        if trainer.is_global_zero and before.is_file():
            try:
                with before.open("rb") as source, whole_file(own) as target:
                    shutil.copyfileobj(source, target)
            except OSError as error:
                raise CheckpointError(
                    f"could not copy {before} to {own} ({reason(error)}); free space and start again"
                ) from error
        self.best_model_path = self.kth_best_model_path = str(own)
        self.best_k_models = dict.fromkeys([str(own)], *self.best_k_models.values())
