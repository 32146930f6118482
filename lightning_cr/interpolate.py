"""Weights between the start and the end of a run (WiSE-FT): ``python -m lightning_cr interpolate``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as pl
import torch
from torch import Tensor

from lightning_cr.callbacks.files import run_folder
from lightning_cr.callbacks.table import Scores, as_scores, grouped
from lightning_cr.data.datamodule import CompositionData
from lightning_cr.encoders import Start, save_weights
from lightning_cr.errors import CheckpointError, ConfigError, DataError
from lightning_cr.files import reason, whole_file
from lightning_cr.task import CompositionTask

__all__ = ["Trainer", "between"]


def between(start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    r"""The weights :math:`(1 - \alpha) \theta_{start} + \alpha \theta_{end}`; what is no floating number is the end's.

    >>> between({"w": torch.tensor(1.0)}, {"w": torch.tensor(3.0)}, 0.25)
    {'w': tensor(1.5000)}
    """
    if alpha in (0.0, 1.0):  # exactly these weights, also where they hold an infinity (masks)
        return dict(end if alpha else start)
    return {
        name: torch.where(start[name] == value, value, start[name].lerp(value, alpha))
        if value.is_floating_point()
        else value
        for name, value in end.items()
    }


class Trainer(pl.Trainer):
    """Lightning's trainer with one command more."""

    def interpolate(
        self,
        model: CompositionTask,
        datamodule: CompositionData,
        ckpt_path: str | None = None,
        alphas: list[float] = [0.0, 0.25, 0.5, 0.75, 1.0],  # noqa: B006 (read only; the parser shows it as the default)
        save: list[float] = [],  # noqa: B006
    ) -> dict[str, Scores]:
        """Measures weights between the start and the end of a run on its benchmarks (WiSE-FT).

        Fine-tuning gains on what it trains for and forgets other things; weights in between often keep most of both
        (Wortsman et al. 2022, arXiv 2109.01903). Prints a column for each alpha, retrieval below composition, and
        writes ``interpolation.json``. The end is what ``test`` takes of the checkpoint: the average, if there is one.

        Args:
            model: The run's model.
            datamodule: The run's data, unless others are named.
            ckpt_path: A checkpoint of the run; it says where the run began.
            alphas: Shares of the end: 0 is the start, 1 the end.
            save: Alphas whose weights are written, as interpolated_ALPHA.pt, which open_clip loads.

        Returns:
            The scores by alpha.

        Raises:
            ConfigError: No checkpoint, or an alpha outside 0..1.
            CheckpointError: The weights that the run began with are gone.
        """
        if ckpt_path is None:
            raise ConfigError("interpolate needs a run: --ckpt_path RUN/checkpoints/last.ckpt")
        for alpha in (*alphas, *save):
            if not 0 <= alpha <= 1:
                raise ConfigError(f"alpha is {alpha}; it must be between 0 (the start) and 1 (the end)")
        end = {name: tensor.detach().clone() for name, tensor in model.encoder.state_dict().items()}
        start = _start_of(ckpt_path).encoder(model.encoder_config).state_dict()
        found: dict[str, Scores] = {}
        for alpha in alphas:
            model.encoder.load_state_dict(between(start, end, alpha))
            self.test(model, datamodule=datamodule, verbose=False)
            found[f"{alpha:g}"] = as_scores(model.scores)
        folder = run_folder(self)  # all processes ask
        if self.is_global_zero:
            _print(found)
            if folder is not None:
                self._write(model, folder, found, {alpha: between(start, end, alpha) for alpha in save})
        model.encoder.load_state_dict(end)
        return found

    @staticmethod
    def _write(
        model: CompositionTask, folder: Path, found: dict[str, Scores], weights: dict[float, dict[str, Tensor]]
    ) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with whole_file(folder / "interpolation.json") as file:
                file.write(f"{json.dumps({'alphas': found}, indent=2, allow_nan=False)}\n".encode())
            for alpha, state in weights.items():
                model.encoder.load_state_dict(state)
                save_weights(model.encoder, folder / f"interpolated_{alpha:g}.pt")
        except OSError as error:
            raise DataError(f"could not write into {folder} ({reason(error)})") from error
        names = ["interpolation.json", *(f"interpolated_{alpha:g}.pt" for alpha in weights)]
        print(f"in {os.fspath(folder)}: {', '.join(names)}")


def _start_of(path: str) -> Start:
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if "start" not in checkpoint:
        raise CheckpointError(f"'{path}' does not say where its run began; it is of an earlier version")
    return Start(**checkpoint["start"])


def _print(found: dict[str, Scores]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = "Accuracy in % between the start (0) and the end (1)"
    table = Table(title=title, title_justify="left", box=box.HORIZONTALS, pad_edge=False, title_style="bold")
    table.add_column("alpha", no_wrap=True)
    for alpha in found:
        table.add_column(alpha, justify="right", no_wrap=True)
    first: Scores = next(iter(found.values()), {})
    for group in grouped(first):
        for name in group:
            values = [scores[name]["accuracy"] for scores in found.values()]
            table.add_row(name, *("-" if value is None else f"{100 * value:.1f}" for value in values))
        table.add_section()
    Console().print(table)
