"""How far the generator is: a bar on a terminal, plain lines with the time left elsewhere."""

from __future__ import annotations

import time
from typing import Any

import lightning as pl

from lightning_cr.callbacks import Progress
from lightning_cr.callbacks.progress import clock

__all__ = ["SynthesisProgress"]


class SynthesisProgress(Progress):
    """Shows shards, pictures a second and the time left, of what was missing when the run began."""

    predict_description = "Painting"

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the bar, or begins the clock."""
        super().on_predict_start(trainer, pl_module)
        self._began = self._spoke = time.monotonic()
        self._made = self._reported = 0

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Moves the bar, or writes a line if it is time."""
        self._made += int(outputs)
        done, total = batch_idx + 1, int(trainer.num_predict_batches[0])
        spent = time.monotonic() - self._began
        rate = f"{self._made * trainer.world_size / spent:.2f}"
        if not self.predict_progress_bar.disable:
            self.predict_progress_bar.set_postfix({"pictures/s": rate}, refresh=False)
        super().on_predict_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        late = time.monotonic() - self._spoke >= self.seconds or done - self._reported >= max(1, total // 20)
        if self.plain and (done in (1, total) or late):
            left = clock(spent / done * (total - done))
            self._say(f"shard {done}/{total} ({done / total:.0%})  {rate} pictures/s  {left} left")
            self._reported, self._spoke = done, time.monotonic()
