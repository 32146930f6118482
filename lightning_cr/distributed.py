"""Gathering tensors of all ranks with their gradient.

``torch.distributed.nn.functional`` holds a like function, but parts of that module are deprecated in favour of private
ones, so the dozen lines stand here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["all_reduce_sum", "gather", "gather_objects", "gather_with_gradient", "rank", "world_size"]


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
