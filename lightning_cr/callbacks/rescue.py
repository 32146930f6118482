"""Checkpoints that a full disk does not destroy: whole or not there, else rescued to another folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from lightning_cr.errors import CheckpointError
from lightning_cr.files import reason, whole_file

__all__ = ["RESCUE_VARIABLE", "RescueCheckpointIO"]

RESCUE_VARIABLE = "LIGHTNING_CR_RESCUE"


class RescueCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints so that a failed write harms no earlier one, and saves the state elsewhere if it fails.

    Lightning's own writer makes its temporary file in the system's temporary folder and *copies* it over the earlier
    checkpoint where that is another disk: a disk that fills up then takes the last good checkpoint along. It also holds
    the whole file in memory. Here it is streamed to a file beside the target, which then takes its name.

    The folder for rescue is ``$LIGHTNING_CR_RESCUE``, by default ``lightning_cr-rescue`` in the temporary folder.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes a checkpoint.

        Args:
            checkpoint: The state.
            path: Where to; an address with ``://`` is left to Lightning.
            storage_options: Must be None, as with Lightning's own writer.

        Raises:
            CheckpointError: The file cannot be written; the message says where the state is instead.
        """
        try:
            if storage_options is not None or "://" in str(path):
                super().save_checkpoint(checkpoint, path, storage_options)
            else:
                _write(checkpoint, Path(path))
        except OSError as error:
            raise _rescue(checkpoint, Path(path), error) from error


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    with whole_file(path) as file:
        watched = _Watched(file)
        try:
            torch.save(checkpoint, watched)  # type: ignore[arg-type]
        except RuntimeError as error:
            # torch hides a failed write behind "[enforce fail at inline_container.cc] unexpected pos".
            if watched.error is None:
                raise
            raise watched.error from error


class _Watched:
    """A file that remembers why a write failed."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return int(self._file.write(data))
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _rescue(checkpoint: dict[str, Any], path: Path, error: OSError) -> CheckpointError:
    """Tries the other folder; the error to raise says how that went."""
    step = checkpoint.get("global_step", "?")
    folder = Path(os.environ.get(RESCUE_VARIABLE) or Path(tempfile.gettempdir()) / "lightning_cr-rescue")
    run = "-".join(part for part in path.absolute().parent.parts[1:][-4:] if part != "checkpoints")
    other = folder / f"{run}-step{step}.ckpt"
    failed = f"could not write {path} ({reason(error)})"
    try:
        _write(checkpoint, other)
    except OSError as second:
        earlier = f"; the earlier {path.name} is unharmed" if path.is_file() else ""
        return CheckpointError(
            f"{failed}, nor the state of step {step} to {other} ({reason(second)}){earlier};"
            f" free space, or set {RESCUE_VARIABLE} to a folder that has some"
        )
    return CheckpointError(
        f"{failed}; the state of step {step} is in {other}: free space and go on with --ckpt_path {other}"
    )
