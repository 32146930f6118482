"""Gathering tensors of all ranks with their gradient.

``torch.distributed.nn.functional`` holds a like function, but parts of that module are deprecated in favour of private
ones, so the dozen lines stand here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "all_reduce_sum",
    "gather",
    "gather_objects",
    "gather_with_gradient",
    "on_first_rank",
    "rank",
    "world_size",
]

_Made = TypeVar("_Made")
_PATIENCE = timedelta(days=1)
"""What takes one rank long, such as fitting a probe, must not end the others by the collectives' ten minutes."""


def world_size() -> int:
    """Number of processes, 1 where nothing is distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, 0 where nothing is distributed."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class _Gather(torch.autograd.Function):
    """All ranks' rows, rank-major; the backward pass sums what every rank's loss says of this rank's rows."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.rows = tensor.shape[0]
        parts = [torch.empty_like(tensor) for _ in range(world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()  # autograd may hand the same tensor to another branch
        dist.all_reduce(gradient)
        start = rank() * ctx.rows
        return gradient[start : start + ctx.rows]


def gather_with_gradient(tensor: Tensor) -> Tensor:
    """Concatenates the rows of all ranks, in rank order, and lets gradients flow back to each of them.

    Args:
        tensor: ``(B, ...)``, of the same shape on every rank.

    Returns:
        ``(W * B, ...)`` for W ranks; the tensor itself for one.
    """
    if world_size() == 1:
        return tensor
    return _Gather.apply(tensor)  # type: ignore[no-any-return]


def gather(tensor: Tensor) -> Tensor:
    """Concatenates the rows of all ranks without gradient; ``bool`` tensors are allowed."""
    if world_size() == 1:
        return tensor
    sent = tensor.detach().to(torch.uint8) if tensor.dtype == torch.bool else tensor.detach()
    parts = [torch.empty_like(sent) for _ in range(world_size())]
    dist.all_gather(parts, sent.contiguous())
    return torch.cat(parts).to(tensor.dtype)


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum over the ranks, without gradient."""
    if world_size() == 1:
        return tensor.detach()
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total


def gather_objects(table: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Joins the lists of all ranks, key by key."""
    if world_size() == 1:
        return table
    received: list[Any] = [None] * world_size()
    dist.all_gather_object(received, table)
    return {key: [entry for other in received for entry in other[key]] for key in table}


def on_first_rank(make: Callable[[], _Made]) -> _Made:
    """What the first rank makes, on all ranks; its error is raised on all, so that none waits for ever.

    Args:
        make: Called on the first rank alone.
    """
    if world_size() == 1:
        return make()
    found: list[Any] = [None, None]
    if rank() == 0:
        try:
            found[0] = make()
        except Exception as error:
            found[1] = error
    group: Any = dist.new_group(backend="gloo", timeout=_PATIENCE)
    dist.broadcast_object_list(found, src=0, group=group, device=torch.device("cpu"))
    dist.destroy_process_group(group)
    if found[1] is not None:
        raise found[1]
    made: _Made = found[0]
    return made
