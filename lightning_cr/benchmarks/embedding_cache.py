"""Vectors of pictures and captions on disk: a test encodes only what no test of the same weights has encoded."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_cr.encoders import Encoder, fingerprint
from lightning_cr.errors import ConfigError, DataError
from lightning_cr.files import reason, whole_file

__all__ = ["EmbeddingCache", "chunk_key"]

log = logging.getLogger(__name__)

_PACKAGES = ("torch", "open_clip_torch", "timm", "transformers", "pillow", "numpy")
_CODE = ("encoders", "scenes", "images.py", "benchmarks/pictures.py")
_UNIT = 1e-3  # what a vector's length may be off by; fp32 is off by 1e-6


class EmbeddingCache:
    """The vectors that one state of one model gives, a file for each chunk of pictures or captions.

    A chunk is kept and found as a whole, for what a matrix product gives a row depends, in its last bits, on the rows
    beside it: with the cache and without, a test gives the same bits. ``ROOT/NAME-DIGEST`` is the folder of one state
    and ``model.json`` in it says which; the digest is of the weights, name, activation, preprocessing, precision,
    device, library versions and this package's own code of encoders and pictures. Within it a chunk is named by
    :func:`chunk_key`. The number of processes, workers and threads changes nothing; another ``eval_batch_size`` makes
    other chunks.

    Each chunk is on the disk, whole, as soon as it is encoded, so that a test that was killed goes on where it was. A
    kill in the midst of writing leaves a ``.part`` file, which nobody reads. Any other file that is not what was
    written is refused. On a full disk the test goes on without keeping more. Nothing is ever cleared: remove the folder
    of a state, or ``ROOT``, to free the space (4 D bytes a picture or caption).

    Args:
        root: Folder of all states; made if it is not there.
        encoder: With the weights that will encode.
        precision: ``trainer.precision``.
        device: Where it will encode.

    Attributes:
        folder: Of this state.

    Raises:
        ConfigError: The folder can be neither found nor made.
    """

    def __init__(self, root: Path, encoder: Encoder, precision: str, device: torch.device) -> None:
        self.dim = encoder.dim
        about = _about(encoder, precision, device)
        digest = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=8).hexdigest()
        name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in encoder.config.name)
        self.folder = root / f"{name}-{digest}"
        self._writes = True
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "model.json").exists():
                with whole_file(self.folder / "model.json") as file:
                    told = about | {"pretrained": encoder.config.pretrained}
                    file.write(json.dumps(told, indent=2).encode())
        except OSError as error:
            if not self.folder.is_dir():
                raise ConfigError(
                    f"data.embedding_cache is '{root}', where no folder can be made ({reason(error)}); name another"
                    " folder, or go on without by --data.embedding_cache null"
                ) from error
            self._stop(error)  # somebody else's cache can be read, too

    def read(self, key: str, rows: int) -> Tensor | None:
        """``(rows, D)`` fp32 of a chunk; None where it was never encoded.

        Raises:
            DataError: The file is not what was written.
        """
        path = self._path(key)
        try:
            with path.open("rb") as file:
                found: Any = np.lib.format.read_array(file, allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _refused(path, f"cannot be read ({(str(error).splitlines() or ['no reason given'])[0]})") from None
        wanted = (rows, self.dim)
        if (found.shape, found.dtype) != (wanted, np.float32):
            raise _refused(path, f"holds {found.dtype} of shape {found.shape}, wanted is float32 of shape {wanted}")
        vectors = torch.from_numpy(found)
        if not _sound(vectors):
            raise _refused(path, "holds vectors that are not of length 1 (NaN, or changed since they were written)")
        return vectors

    def write(self, key: str, vectors: Tensor) -> None:
        """Keeps a chunk, or warns once that no more can be kept; vectors that would be refused are not kept.

        Args:
            key: Of the chunk.
            vectors: ``(rows, D)`` fp32 on the CPU; NaN for a picture that could not be read.
        """
        if not self._writes or not _sound(vectors):
            return
        try:
            with whole_file(self._path(key)) as file:
                np.save(file, vectors.numpy())
        except OSError as error:
            self._stop(error)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npy"

    def _stop(self, error: OSError) -> None:
        self._writes = False
        log.warning(
            "cannot write into the embedding cache %s (%s); going on without keeping more vectors",
            self.folder,
            reason(error),
        )


def chunk_key(contents: Iterable[bytes]) -> str:
    """Digest of what a chunk's rows are, in their order.

    >>> chunk_key([b"a", b"bc"]) == chunk_key([b"ab", b"c"])
    False
    """
    digest = hashlib.blake2b(digest_size=20)
    for content in contents:
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def _sound(vectors: Tensor) -> bool:
    return bool(((vectors.norm(dim=1) - 1).abs() < _UNIT).all())  # NaN is below nothing


def _refused(path: Path, why: str) -> DataError:
    return DataError(f"{path} {why}; remove it, and it is made anew: rm {shlex.quote(str(path))}")


def _about(encoder: Encoder, precision: str, device: torch.device) -> dict[str, Any]:
    """All that decides a vector beside the chunk: shapes that differ in chunking differ in their last bits."""
    config = encoder.config
    cuda = device.type == "cuda"
    return {
        "weights": fingerprint(encoder),
        "name": config.name,
        "activation": encoder.activation,
        "dim": encoder.dim,
        "preprocess": asdict(encoder.preprocess),
        "micro_batch_size": config.micro_batch_size,
        "length_groups": config.length_groups,
        "precision": precision,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "device": torch.cuda.get_device_name(device) if cuda else f"{device.type} {_instructions(device)}".strip(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "code": _code(),
    }


def _instructions(device: torch.device) -> str:
    return torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@cache
def _code() -> str:
    """Digest of the files that turn a picture or tokens into a vector: a release number says nothing of a checkout."""
    package = Path(__file__).parents[1]
    files = [file for name in _CODE for file in (sorted((package / name).rglob("*.py")) or [package / name])]
    return chunk_key(file.read_bytes() for file in files)
