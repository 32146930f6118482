"""Ctrl-C and SIGTERM: the step is finished, a checkpoint left, and one line says how to go on."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as pl
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lightning_cr.callbacks.files import run_folder
from lightning_cr.errors import CheckpointError

__all__ = ["GracefulStop", "Interrupted"]


class Interrupted(SystemExit):
    """A run was stopped by Ctrl-C or SIGTERM; the message says how to go on.

    It is a ``SystemExit``, so that a script without a handler prints the message and ends; Lightning would swallow a
    ``KeyboardInterrupt`` and exit with 1.

    Attributes:
        status: The exit status that the shell expects: 128 + signal, 130 for Ctrl-C.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.status = 128 + number


class GracefulStop(Callback):
    """Stops a run between two steps, so that it goes on as if it had never stopped.

    An interrupt anywhere in a step leaves counters, optimiser and data loader at different batches. So the first
    Ctrl-C (or SIGTERM) only asks: the step is finished (with its validation, if one is due), ``last.ckpt`` is written
    into the run's checkpoint folder, and :class:`Interrupted` ends the run. Several processes agree after each step, so
    that all stop at the same one. A second Ctrl-C stops at once, without a checkpoint. Outside of training the first
    one does.

    If the run breaks between two steps for want of disk (a logger that cannot write), the state is saved as well.

    It moves behind all other callbacks, so that they are through with the step. Under SLURM, SIGTERM is Lightning's.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._previous: dict[int, Any] = {}
        self._signal = 0
        self._training = self._saving = False
        self._written: Path | None = None
        self._folder: Path | None = None
        self._trainer: pl.Trainer | None = None

    # ---- signals -------------------------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Notes the run's folder, moves to the end, and listens."""
        if stage != "fit":
            return
        self._folder, self._trainer = run_folder(trainer), trainer
        # A new list: Lightning is walking over the old one.
        others = [callback for callback in trainer.callbacks if callback is not self]  # type: ignore[attr-defined]
        trainer.callbacks = [*others, self]  # type: ignore[attr-defined]
        self._signal = 0
        self._training = self._saving = False
        self._written = None
        self._listen()

    def _listen(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # Python lets only the main thread set handlers
        self._pid = os.getpid()
        for number in [signal.SIGINT] if SLURMEnvironment.detect() else [signal.SIGINT, signal.SIGTERM]:
            previous = signal.signal(number, self._on_signal)
            if previous != self._on_signal:
                self._previous.setdefault(number, previous)

    def _unlisten(self) -> None:
        if self._pid == os.getpid() and threading.current_thread() is threading.main_thread():
            for number, previous in self._previous.items():
                signal.signal(number, previous)
        self._pid = 0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._pid != os.getpid():
            self._pass_on(number, frame)
        elif self._saving:
            _say_at_once("the checkpoint is being written, a moment")
        elif self._training and not self._signal:
            self._signal = number
            _say_at_once("finishing this step, then a checkpoint; once more stops at once, without one")
        else:
            raise Interrupted(f"stopped at once; {self._way_on()}", number)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        # Loader processes inherit the handler: a Ctrl-C in a terminal reaches them too, and the step that is being
        # finished may need their batch. After the run Lightning puts this handler back: then the earlier one acts.
        if self._pid and number == signal.SIGINT:
            return
        previous = self._previous.get(number, signal.SIG_DFL)
        if callable(previous):
            previous(number, frame)
        elif previous == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    # ---- between two steps ---------------------------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here a signal waits for the end of a step; takes SIGTERM back from Lightning, which drops the state."""
        self._listen()
        self._training = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops here if asked to, unless gradients are only half gathered or a validation belongs to this step."""
        if not self._asked(trainer) or trainer.fit_loop._should_accumulate():
            return
        fetcher = trainer.fit_loop._data_fetcher
        if fetcher is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher):
            return  # stops behind the validation: a resume from here would leave it out
        self._save_and_stop(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops here if asked to."""
        if self._training and not trainer.sanity_checking and self._asked(trainer):
            self._save_and_stop(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here a signal stops at once: there is no step to finish."""
        self._training = False

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Puts the earlier handlers back."""
        self._unlisten()
        self._trainer = None

    def _asked(self, trainer: pl.Trainer) -> bool:
        if trainer.world_size == 1:
            return bool(self._signal)
        return bool(trainer.strategy.reduce_boolean_decision(bool(self._signal), all=False))

    def _save(self, trainer: pl.Trainer) -> None:
        if self._folder is None:
            return
        # Noted before: if it fails, the error says where the state is, and nobody need try again.
        self._saving, self._written = True, self._path(trainer)
        try:
            trainer.save_checkpoint(self._written)
        finally:
            self._saving = False

    def _save_and_stop(self, trainer: pl.Trainer) -> None:
        self._save(trainer)
        if not trainer.is_global_zero:
            # Lightning kills all processes if one of the others ends with a code, maybe before the first is through.
            raise SystemExit(0)
        raise Interrupted(f"stopped at step {trainer.global_step}; {self._way_on()}", self._signal or signal.SIGINT)

    def _path(self, trainer: pl.Trainer) -> Path:
        own = trainer.checkpoint_callback
        if isinstance(own, ModelCheckpoint) and own.dirpath:
            return Path(own.dirpath) / "last.ckpt"
        assert self._folder is not None
        return self._folder / "checkpoints" / "last.ckpt"

    # ---- the end -------------------------------------------------------------------------------------------------

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Saves what can be saved, and puts the earlier handlers back.

        Raises:
            CheckpointError: The run broke between two steps; it says why, and where the state is.
            Interrupted: It broke there because of a signal.
        """
        was_training, self._training = self._training, False
        self._unlisten()
        # A logger without disk (OSError) or a loader process that died of the same Ctrl-C is met between two steps.
        wanted = isinstance(exception, OSError) or (self._signal and isinstance(exception, RuntimeError))
        if not (was_training and wanted and self._folder is not None and not self._written):
            return
        if trainer.world_size == 1 and _between_steps(trainer):
            self._save(trainer)
            if self._signal:
                raise Interrupted(f"stopped at step {trainer.global_step}; {self._way_on()}", self._signal)
            raise CheckpointError(f"{exception}; the run stopped at step {trainer.global_step}, {self._way_on()}")

    def _way_on(self) -> str:
        found = _newest(self._trainer, self._written)
        if self._folder is None or found is None:
            return "there was no checkpoint yet, start again"
        config = self._folder / "config.yaml"
        given = shlex.quote(str(config)) if config.is_file() else "YOUR_CONFIG"
        return f"go on: python -m lightning_cr fit --config {given} --ckpt_path {shlex.quote(str(found))}"


def _between_steps(trainer: pl.Trainer) -> bool:
    progress = trainer.fit_loop.epoch_loop.batch_progress.current
    return (
        trainer.global_step > 0 and progress.ready == progress.completed and not trainer.fit_loop._should_accumulate()
    )


def _newest(trainer: pl.Trainer | None, own: Path | None) -> Path | None:
    """The checkpoint to go on from: the newest that this run wrote, or the one it began with."""
    if trainer is None:
        return None
    known = [Path(trainer.ckpt_path)] if trainer.ckpt_path else []
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint):
            known += [Path(name) for name in (callback.last_model_path, callback._last_checkpoint_saved) if name]
    known += [own] if own else []
    return max((path for path in known if path.is_file()), key=lambda path: path.stat().st_mtime, default=None)


def _say_at_once(line: str) -> None:
    # Not print: a handler may run in the midst of another write to the same stream, which Python refuses.
    os.write(2, f"\n{line}\n".encode())
