"""A moving average of the weights: measured, kept in checkpoints and given away in place of the last ones."""

from __future__ import annotations

from typing import Any

import lightning as pl
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn
from torch.optim.swa_utils import AveragedModel

from lightning_cr.errors import CheckpointError, ConfigError

__all__ = ["AverageWeights"]


class AverageWeights(EMAWeightAveraging):
    r"""Averages the encoder's weights over the steps: :math:`\bar\theta \leftarrow d \bar\theta + (1 - d) \theta`.

    ``--trainer.callbacks+=AverageWeights --trainer.callbacks.decay=0.99``, or in a YAML file::

        trainer:
          callbacks:
            - {class_path: AverageWeights, init_args: {decay: 0.99}}

    With it, the average is what every validation measures, what ``state_dict`` of ``last.ckpt`` and ``best.ckpt`` holds
    (so ``test``, ``predict``, ``--model.encoder.pretrained`` and open_clip take it), and what is left in memory at the
    end. The weights that train are beside it in the checkpoint, and ``fit --ckpt_path`` goes on with them, exactly.

    Lightning's callback averages the whole task; its copy is made before the losses know their kinds of negative, so
    that their thresholds would not fit, and averaged thresholds are none that was ever in force. Here it is the encoder
    alone; buffers (statistics of batch normalisation) are those in force.

    Args:
        decay: d, in [0, 1). The average reaches back about 1 / (1 - d) steps: it should be a fraction of the run.
        every: Steps between two updates.
        start: First step that counts.
    """

    def __init__(self, decay: float = 0.999, every: int = 1, start: int = 0) -> None:
        within = min(max(decay, 0.0), 1.0)  # what is not is refused in setup
        super().__init__(
            use_buffers=False, decay=within, update_every_n_steps=every, update_starting_at_step=start or None
        )
        self._options = {"decay": decay, "every": every, "start": start}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copies the encoder before training.

        Raises:
            ConfigError: An option out of range; not earlier, since the parser of callbacks would hide what it says.
        """
        if stage == "fit":
            decay, every, start = (self._options[name] for name in ("decay", "every", "start"))
            for name, value, allowed, bounds in (
                ("decay", decay, 0 <= decay < 1, "0 or more and below 1, such as 0.99"),
                ("every", every, every >= 1, "1 or more, such as 1 for each step"),
                ("start", start, start >= 0, "0 or more, such as 0 for the whole run"),
            ):
                if not allowed:
                    raise ConfigError(f"AverageWeights: {name} is {value}; it must be {bounds}")
            self._average_model = AveragedModel(_encoder(pl_module), use_buffers=False, **self._kwargs)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the copy to where the model trains."""
        if self._average_model is not None:
            self._average_model.to(pl_module.device)

    on_sanity_check_start = on_train_start

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Updates the average after an optimiser step."""
        super().on_train_batch_end(trainer, _encoder(pl_module), outputs, batch, batch_idx)  # type: ignore[arg-type]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing: the average goes by the step."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing yet: last.ckpt is written after this, and a run goes on from the weights that train."""

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves the average in the model."""
        if self._average_model is not None:
            self._copy_average_to_current(pl_module)

    def _swap_models(self, pl_module: Any) -> None:
        super()._swap_models(_encoder(pl_module))  # type: ignore[arg-type]

    def _copy_average_to_current(self, pl_module: Any) -> None:
        super()._copy_average_to_current(_encoder(pl_module))  # type: ignore[arg-type]

    # ---- checkpoints ---------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The step of the last update, and the options, which must not change over a resume."""
        return super().state_dict() | {"options": dict(self._options)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on.

        Raises:
            CheckpointError: With other options than before.
        """
        if state_dict["options"] != self._options:
            before, now = (", ".join(f"{k} {v}" for k, v in o.items()) for o in (state_dict["options"], self._options))
            raise CheckpointError(
                f"--ckpt_path goes on with the run as it was, but AverageWeights had {before}, now {now}; give the"
                " run's own --config RUN/config.yaml, or start anew from its weights with --model.encoder.pretrained"
            )
        super().load_state_dict(state_dict)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Puts the average in the place of the encoder's weights, and these beside it."""
        if self._average_model is None:
            return
        average = {f"encoder.{name}": value for name, value in self._average_model.module.state_dict().items()}
        current = checkpoint["state_dict"]
        checkpoint["current_model_state"] = {name: current[name] for name in average}
        checkpoint["averaging_state"] = {"n_averaged": self._average_model.n_averaged}
        checkpoint["state_dict"] = {**current, **average}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes both sets of weights back; from a run without an average it starts with that run's weights."""
        if self._average_model is None:
            return
        encoder = _encoder(pl_module)
        self._average_model.module.load_state_dict(encoder.state_dict())
        if "current_model_state" in checkpoint:
            current = checkpoint["current_model_state"].items()
            encoder.load_state_dict({name.removeprefix("encoder."): value for name, value in current})
            self._average_model.n_averaged.copy_(checkpoint["averaging_state"]["n_averaged"])


def _encoder(pl_module: Any) -> nn.Module:
    encoder: nn.Module = pl_module.encoder
    return encoder
