"""Going on with a run: a changed value is named, never silently ignored."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from lightning_cr.errors import CheckpointError

__all__ = ["check_resume", "saved_config"]

_MAY_DIFFER = (
    "data.root",
    "data.num_workers",
    "data.eval_batch_size",
    "data.benchmarks",
    "data.embedding_cache",
    "data.negatives.cache",
    "data.image_negatives.init_args.folder",
    "data.source.init_args.max_skipped",
    "model.encoder.pretrained",  # the checkpoint's weights take their place
    "model.encoder.gradient_checkpointing",
    "model.encoder.micro_batch_size",
    "model.encoder.length_groups",
)
"""What changes neither the batches nor the objective."""


def saved_config(path: str | Path) -> dict[str, Any]:
    """What a checkpoint says of its run: ``model``, ``data``, ``seed_everything`` and ``accumulate_grad_batches``.

    Raises:
        CheckpointError: The file cannot be read, or was not written by this package.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"'{path}' cannot be read as a checkpoint ({reason}); is it whole?") from error
    config = checkpoint.get("config") if isinstance(checkpoint, dict) else None
    if config is None:
        raise CheckpointError(
            f"'{path}' is not a checkpoint of a lightning_cr run; to load weights use --model.encoder.pretrained FILE"
        )
    result: dict[str, Any] = config
    return result


def check_resume(path: str | Path, saved: dict[str, Any], asked: dict[str, Any]) -> None:
    """Stops where the run to go on with had other values than are asked for.

    Args:
        path: The checkpoint.
        saved: Its configuration.
        asked: The configuration at hand.

    Raises:
        CheckpointError: Naming the values that differ, and both ways out.
    """
    before, now = (
        dict(_flat({key: config.get(key) for key in ("seed_everything", "model", "data", "accumulate_grad_batches")}))
        for config in (saved, asked)
    )
    changed = [
        f"{key} was {before.get(key, 'not set')}, now {now.get(key, 'not set')}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and not key.startswith(_MAY_DIFFER)
    ]
    if changed:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise CheckpointError(
            f"--ckpt_path goes on with the run as it was, but {'; '.join(changed[:5])}{more};"
            " give the run's own --config RUN/config.yaml, or start anew from its weights with"
            f" --model.encoder.pretrained {path}"
        )


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else name)
    else:
        yield key, value
