"""What ``predict`` leaves: the unit vectors of the held-out pictures and captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as pl
import numpy as np
from torch import Tensor

from lightning_cr import distributed
from lightning_cr.callbacks.files import run_folder
from lightning_cr.files import whole_file

__all__ = ["SaveEmbeddings"]


class SaveEmbeddings(pl.Callback):
    """Writes ``embeddings.npz``: ``image (N, D)``, ``text (M, D)``, ``caption (M,)``, and ``owner (M,)``.

    ``owner`` is the row of ``image`` that a caption belongs to. The row of a picture that could not be read is NaN.
    """

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[Tensor, Tensor]]] = {"image": [], "text": []}

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the vectors of a batch."""
        room, rows, vectors = outputs
        self._parts[room].append((rows, vectors))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the file, on the first rank."""
        parts = distributed.gather_objects(self._parts)
        folder = run_folder(trainer)
        if folder is None or not trainer.is_global_zero:
            return
        items = trainer.datamodule.predicted  # type: ignore[attr-defined]
        texts = items.caption.numpy()  # one that two pictures have was encoded once
        found: dict[str, Any] = {"caption": np.array(items.captions)[texts], "owner": items.owner.numpy()}
        for room, rows in (("image", len(items.pictures)), ("text", len(items.captions))):
            found[room] = np.full((rows, pl_module.encoder.dim), np.nan, np.float32)
            for index, vectors in parts[room]:
                found[room][index.numpy()] = vectors.float().numpy()
        found["text"] = found["text"][texts]
        path = Path(folder) / "embeddings.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            np.savez_compressed(file, **found)
        print(f"{len(items.pictures)} pictures and {len(texts)} captions in {path}")
