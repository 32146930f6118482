"""The door of a loss: :class:`Features` in, a value that enters the sum and a report that does not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from lightning_cr import distributed
from lightning_cr.batch import Features

__all__ = ["Loss", "Term", "masked_mean"]


@dataclass
class Term:
    """What a loss returns.

    Attributes:
        value: Scalar that enters the weighted sum; attached to the graph also where it is exactly 0.
        report: Scalars to log, never part of the sum.
    """

    value: Tensor
    report: dict[str, Tensor] = field(default_factory=dict)


class Loss(nn.Module, ABC):
    """One named term of the objective.

    A term sees the local rows and, in ``features.all``, the rows of every rank. It returns the mean over its *local*
    anchors, so that the mean over ranks, which DDP takes of the gradients, is the one-process value. Where the
    denominator is a count of valid entries, use :func:`masked_mean`, which counts over all ranks.

    Args:
        weight: Factor in the sum, without unit.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    """What the batch must hold: any of ``negative_text``, ``negative_image``, ``concreteness``."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight
        self.kinds: tuple[str, ...] = ()

    def bind(self, kinds: tuple[str, ...]) -> None:
        """Tells the term the kinds of text negative, before a checkpoint is loaded; per-kind buffers are made here."""
        self.kinds = kinds

    def on_epoch_start(self) -> None:
        """Called at the start of each training epoch, not on a resume inside one."""

    @abstractmethod
    def forward(self, features: Features) -> Term:
        """Computes the term.

        Args:
            features: Unit vectors in fp32, masks and ids; see :class:`lightning_cr.batch.Features`.
        """


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the valid entries of *all* ranks, as this rank's share of it.

    The mean over ranks of what each returns is ``sum of valid values / number of valid entries`` of the global batch. With
    no valid entry anywhere it is exactly 0, still attached to the graph.

    Args:
        values: Any shape.
        mask: Bool, of the same shape.
    """
    count = distributed.all_reduce_sum(mask.sum().to(values.dtype))
    total = values.masked_fill(~mask, 0.0).sum()
    return total * distributed.world_size() / count.clamp(min=1.0)
