"""The run's folder: whether it can be written, and files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import lightning as pl

from lightning_cr.errors import CheckpointError

__all__ = ["check_run_folder", "reason", "run_folder", "whole_file"]


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


def reason(error: OSError) -> str:
    """What the system says of an error, without number and path."""
    return error.strerror or str(error)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes its name, and the place of an earlier file, only when it is complete and on the disk.

    Args:
        path: Where to; the folder is created.

    Raises:
        OSError: It cannot be written; an earlier file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target: a move from another disk would be a copy, and could end halfway.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp's 0600 would keep colleagues out
        os.replace(name, path)
    except BaseException:  # an interrupt too must not leave half a file
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
