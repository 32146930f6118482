"""Files that are whole or not there, and what the system says where one cannot be."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["reason", "whole_file"]


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
