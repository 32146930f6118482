"""Files of a few pieces of memory: written whole or not at all, checked when they are opened, mapped, not copied."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

__all__ = ["open_pieces", "write_pieces"]

_ALIGNED = 64


def write_pieces(path: Path, pieces: Sequence[memoryview]) -> None:
    """Writes a line of JSON, then the pieces, each at a multiple of 64 bytes.

    Raises:
        OSError: The file cannot be written; what was there before still is.
    """
    check = 0
    for piece in pieces:
        check = zlib.crc32(piece, check)
    about = json.dumps({"sizes": [piece.nbytes for piece in pieces], "checksum": check}).encode()
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            for piece in (memoryview(about + b"\n"), *pieces):
                file.write(piece)
                file.write(b"\0" * (-file.tell() % _ALIGNED))
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def open_pieces(path: Path) -> list[memoryview]:
    """Maps the pieces of a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    # Arrow gives the descriptor back when it closes; the map lives as long as a view of it.
    with pa.memory_map(str(path)) as source:
        whole = memoryview(source.read_buffer())
    with path.open("rb") as file:
        line = file.readline()
    about = json.loads(line)
    at, pieces, check = len(line), [], 0
    for size in about["sizes"]:
        at += -at % _ALIGNED
        pieces.append(whole[at : at + size])
        check = zlib.crc32(pieces[-1], check)
        at += size
    if check != about["checksum"]:
        raise ValueError("it is damaged")
    return pieces
