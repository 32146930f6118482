"""The run's full configuration in its own folder, and its model and data in its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as pl
import yaml

__all__ = ["SaveConfig"]


class SaveConfig(pl.Callback):
    """Writes ``config.yaml`` into the run's folder, and puts into every checkpoint what a resume must not change.

    That is the model, the data, the seed and the number of batches in a step; not the trainer's other options.

    Args:
        config: All values, as plain dicts, lists, strings and numbers.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Writes the file, on the first rank."""
        folder = trainer.log_dir
        if folder is not None and trainer.is_global_zero:
            # Not an f-string: Lightning hands over an enum, which there is "TrainerFn.TESTING".
            path = Path(folder) / ("config.yaml" if stage == "fit" else stage + "_config.yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            # What belongs to one call only would be in the way of using the file as a configuration.
            kept = {key: value for key, value in self.config.items() if key not in ("config", "ckpt_path")}
            path.write_text(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True), encoding="utf-8")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the configuration under ``config``."""
        checkpoint["config"] = {key: self.config[key] for key in ("seed_everything", "model", "data")}
        checkpoint["config"]["accumulate_grad_batches"] = trainer.accumulate_grad_batches
