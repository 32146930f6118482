"""The run's folder: where it is, and whether it can be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import lightning as pl

from lightning_cr.errors import CheckpointError
from lightning_cr.files import reason

__all__ = ["check_run_folder", "run_folder"]


def check_run_folder(folder: str | Path | None) -> None:
    """Makes sure before any training that a run's folder can be created and written; leaves nothing behind.

    Call it before loggers open their files: they would fail with a traceback.

    Args:
        folder: ``trainer.log_dir``; None (no files are wanted) passes.

    Raises:
        CheckpointError: With the folder and why not.
    """
    if folder is None or "://" in str(folder):
        return
    place = Path(folder).absolute()
    try:
        while not os.path.lexists(place):
            place = place.parent
        if not place.is_dir():
            raise NotADirectoryError(None, f"{place} is not a folder")
        # Asking for permission is not enough: root has it on a read-only disk, and a full disk grants it too.
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(65536))
            file.flush()
    except OSError as error:
        raise CheckpointError(
            f"the run's folder {folder} cannot be written ({reason(error)});"
            " choose another with --trainer.default_root_dir, or mend it"
        ) from error


def run_folder(trainer: pl.Trainer) -> Path | None:
    """The folder of the run; None where nothing is to be written. Every rank must call it."""
    folder = trainer.log_dir
    return None if trainer.fast_dev_run or folder is None else Path(folder)  # type: ignore[attr-defined]
