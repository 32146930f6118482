"""A progress bar over the whole run on a terminal; a few plain lines where the output goes to a file."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import lightning as pl
from lightning.pytorch.callbacks import TQDMProgressBar

from lightning_cr.callbacks.throughput import THROUGHPUT

__all__ = ["Progress"]

_MEASURING = 10.0  # seconds between two lines of a test


class Progress(TQDMProgressBar):
    """Shows step, loss, samples per second and the time left.

    On a terminal it is tqdm's bar, over the whole run and not over one epoch. Elsewhere (a log file, a pipe) a bar
    would write a line a step, so there is one plain line each twentieth of the run, and at least one every ``seconds``.
    ``validate`` and ``test`` have a bar of their own, or a line every ten seconds; their batches are of pictures first,
    then of captions, so that the time left is no more than a guess.

    Args:
        refresh_rate: Steps between two updates of the bar; 0 shows nothing.
        seconds: Longest silence in a log, as long as steps end.
        plain: Plain lines (true) or the bar (false); none looks whether the output is a terminal.
    """

    def __init__(self, refresh_rate: int = 1, seconds: float = 60.0, plain: bool | None = None) -> None:
        super().__init__(refresh_rate=refresh_rate)
        self.seconds = seconds
        self.plain = not sys.stdout.isatty() if plain is None else plain
        self._wanted = refresh_rate > 0
        if self.plain:
            super().disable()
        self._first = self._reported = 0
        self._began = self._spoke = 0.0

    def disable(self) -> None:
        """Silences bar and lines (Lightning calls it on every rank but the first)."""
        super().disable()
        self._wanted = False

    def enable(self) -> None:
        """Shows the bar, or the lines."""
        self._wanted = True
        if not self.plain:
            super().enable()

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Loss and throughput under short names; the number of the run is left out."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        rate: Any = metrics.pop(THROUGHPUT, None)
        shown: dict[str, Any] = {name: _short(value) for name, value in metrics.items()}
        if rate is not None:
            shown["samples/s"] = f"{float(rate):.0f}"
        return shown

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says what the wait before the first step is for."""
        super().on_sanity_check_start()
        self._say("measuring before the first step")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the bar at the step where the run begins or goes on."""
        super().on_train_start()
        self._begin(trainer.fit_loop.total_batch_idx + 1)
        bar = self.train_progress_bar
        bar.total = _batches(trainer)
        bar.initial = bar.n = self._first
        bar.set_description("Training")

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Leaves the bar as it is: it runs over all epochs."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar, or writes a line if it is time."""
        done, total = trainer.fit_loop.total_batch_idx + 1, _batches(trainer)
        bar = self.train_progress_bar
        if not bar.disable and self._should_update(done, total or math.inf):  # type: ignore[arg-type]
            bar.n = done
            bar.set_postfix(self.get_metrics(trainer, pl_module))
        elif self.plain and self._due(done, total):
            self._say(self._line("step", done, total, self.get_metrics(trainer, pl_module)))
            self._reported, self._spoke = done, time.monotonic()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the bar."""
        super().on_validation_start(trainer, pl_module)
        if trainer.state.fn == "validate":
            self._begin(0)

    def on_validation_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        """Moves the bar, or writes a line if it is time and nothing is trained."""
        super().on_validation_batch_end(trainer, *given)
        if trainer.state.fn == "validate":
            self._measured(trainer.validate_loop)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the bar."""
        super().on_test_start(trainer, pl_module)
        self._begin(0)

    def on_test_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        """Moves the bar, or writes a line if it is time."""
        super().on_test_batch_end(trainer, *given)
        self._measured(trainer.test_loop)

    def _begin(self, first: int) -> None:
        self._first = self._reported = first
        self._began = self._spoke = time.monotonic()

    def _measured(self, loop: Any) -> None:
        done, total = loop.batch_progress.current.processed, int(sum(loop.max_batches))
        if self.plain and time.monotonic() - self._spoke >= min(self.seconds, _MEASURING):
            self._say(self._line("batch", done, total, {}))
            self._spoke = time.monotonic()

    def _due(self, done: int, total: int | None) -> bool:
        if done == total or done == self._first + 1:
            return True
        if time.monotonic() - self._spoke >= self.seconds:
            return True
        return total is not None and done - self._reported >= max(1, total // 20)

    def _line(self, what: str, done: int, total: int | None, metrics: dict[str, Any]) -> str:
        parts = [f"{what} {done}" if total is None else f"{what} {done}/{total} ({done / total:.0%})"]
        parts += [f"{value} {name}" if name == "samples/s" else f"{name} {value}" for name, value in metrics.items()]
        spent = time.monotonic() - self._began
        if total is not None:
            parts.append(f"{clock(spent / max(1, done - self._first) * (total - done))} left")
        return "  ".join(parts)

    def _say(self, line: str) -> None:
        if self.plain and self._wanted:
            print(line, flush=True)


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``.

    >>> clock(123.4)
    '2:03'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _batches(trainer: pl.Trainer) -> int | None:
    """Batches of the whole run; None where it has no end."""
    limits = []
    if trainer.max_steps >= 0:
        limits.append(trainer.max_steps * trainer.accumulate_grad_batches)
    if trainer.max_epochs is not None and trainer.max_epochs >= 0 and math.isfinite(trainer.num_training_batches):
        limits.append(trainer.max_epochs * int(trainer.num_training_batches))
    return min(limits, default=None)


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value
