"""Ctrl-C and SIGTERM: the step is finished, a checkpoint left, and one line says how to go on."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import lightning as pl
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lightning_cr.callbacks.files import run_folder
from lightning_cr.errors import LightningCRError

__all__ = ["GracefulStop"]


class GracefulStop(Callback):
    """Stops a run between two steps, so that it goes on as if it had never stopped.

    An interrupt anywhere in a step leaves counters, optimiser and data loader at different batches. So the first
    Ctrl-C (or SIGTERM) only asks: the step is finished (with its validation, if one is due), ``last.ckpt`` is written
    into the run's checkpoint folder, and the process exits with 128 + signal (130 for Ctrl-C), which Lightning passes
    on. Several processes agree after each step, so that all stop at the same one. A second Ctrl-C stops at once,
    without a checkpoint. Outside of training the first one does.

    If the run breaks between two steps for want of disk (a logger that cannot write), the state is saved as well.

    Place it behind the callbacks whose state should be that of the last step. Under SLURM, SIGTERM is Lightning's.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._previous: dict[int, Any] = {}
        self._signal = 0
        self._training = self._saving = self._written = False
        self._wait_for_validation = False
        self._folder: Path | None = None

    # ---- signals -------------------------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Notes the run's folder, and listens."""
        if stage != "fit":
            return
        self._folder = run_folder(trainer)
        self._signal = 0
        self._training = self._saving = self._written = self._wait_for_validation = False
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
            self._signal = self._signal or number
            raise SystemExit(128 + self._signal)

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
            self._wait_for_validation = True  # a resume from here would leave it out
            return
        self._save(trainer)
        self._stop(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops here if asked to."""
        if self._training and not trainer.sanity_checking and (self._wait_for_validation or self._asked(trainer)):
            self._save(trainer)
            self._stop(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here a signal stops at once: there is no step to finish."""
        self._training = False

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Puts the earlier handlers back."""
        self._unlisten()

    def _asked(self, trainer: pl.Trainer) -> bool:
        if trainer.world_size == 1:
            return bool(self._signal)
        return bool(trainer.strategy.reduce_boolean_decision(bool(self._signal), all=False))

    def _save(self, trainer: pl.Trainer) -> None:
        if self._folder is None:
            return
        self._saving = self._written = True  # written: also if it fails, for then the error says where the state is
        try:
            trainer.save_checkpoint(self._path(trainer))
        finally:
            self._saving = False

    def _stop(self, trainer: pl.Trainer) -> NoReturn:
        # Lightning kills all processes if one of the others ends with a code, maybe before the first closed its files.
        code = 128 + (self._signal or signal.SIGINT)
        raise SystemExit(code if trainer.is_global_zero else 0)

    def _path(self, trainer: pl.Trainer) -> Path:
        own = trainer.checkpoint_callback
        if isinstance(own, ModelCheckpoint) and own.dirpath:
            return Path(own.dirpath) / "last.ckpt"
        assert self._folder is not None
        return self._folder / "checkpoints" / "last.ckpt"

    # ---- the end -------------------------------------------------------------------------------------------------

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Saves what can be saved, and says how to go on.

        Raises:
            CheckpointError: The state could not be written where it belongs; it says where it is.
        """
        was_training, self._training = self._training, False
        try:
            # A logger without disk (OSError) or a loader process that died of the same Ctrl-C is met between two steps.
            wanted = isinstance(exception, OSError) or (self._signal and isinstance(exception, RuntimeError))
            if was_training and wanted and not self._written and trainer.world_size == 1 and _between_steps(trainer):
                self._save(trainer)
            if trainer.is_global_zero and self._folder is not None and not isinstance(exception, LightningCRError):
                self._tell(trainer, exception)
        finally:
            self._unlisten()

    def _tell(self, trainer: pl.Trainer, exception: BaseException) -> None:
        if not self._written and not isinstance(exception, (SystemExit, KeyboardInterrupt)):
            return
        found = self._path(trainer) if self._written else _newest(trainer)
        if found is None:
            _say("stopped before the first checkpoint; nothing is lost but the start")
            return
        config = self._folder / "config.yaml" if self._folder else Path()
        given = f"--config {shlex.quote(str(config))} " if config.is_file() else "--config YOUR_CONFIG "
        begin = f"stopped at step {trainer.global_step}" if self._written else "stopped at once"
        _say(f"{begin}; go on: python -m lightning_cr fit {given}--ckpt_path {shlex.quote(str(found))}")


def _between_steps(trainer: pl.Trainer) -> bool:
    progress = trainer.fit_loop.epoch_loop.batch_progress.current
    return (
        trainer.global_step > 0 and progress.ready == progress.completed and not trainer.fit_loop._should_accumulate()
    )


def _newest(trainer: pl.Trainer) -> Path | None:
    own = trainer.checkpoint_callback
    written = (own.last_model_path, own._last_checkpoint_saved) if isinstance(own, ModelCheckpoint) else ()
    known = [Path(name) for name in (*written, trainer.ckpt_path) if name]
    return max((path for path in known if path.is_file()), key=lambda path: path.stat().st_mtime, default=None)


def _say(line: str) -> None:
    print(f"\n{line}", file=sys.stderr, flush=True)


def _say_at_once(line: str) -> None:
    # Not print: a handler may run in the midst of another write to the same stream, which Python refuses.
    os.write(2, f"\n{line}\n".encode())
