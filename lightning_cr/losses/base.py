"""The door of a loss: :class:`Features` in, a value that enters the sum and a report that does not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_cr import distributed
from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError, suggest

__all__ = ["Loss", "Term", "cosine", "full_precision", "hide", "masked_mean", "one_of", "require_negative_image"]


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

    needs: frozenset[str] = frozenset()
    """What the features must hold: any of ``negative_text``, ``negative_image``, ``positive_text``, ``concreteness``
    (of some negatives), ``initial_image``, ``initial_text``.

    Read it from the instance: a term whose options decide sets ``self.needs``.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight
        self.kinds: tuple[str, ...] = ()

    def bind(self, kinds: tuple[str, ...]) -> None:
        """Tells the term the kinds of text negative, before a checkpoint is loaded; per-kind buffers are made here."""
        self.kinds = kinds

    def on_epoch_start(self) -> None:
        """Called at the start of each training epoch, not on a resume inside one."""

    def __call__(self, features: Features) -> Term:
        """Runs :meth:`forward` with autocast off and half-precision features cast up.

        It stands here so that no term can forget it: at a logit scale of 100 a bf16 product is off by about 0.4 logits.
        """
        with torch.autocast(features.image.device.type, enabled=False):
            term: Term = super().__call__(full_precision(features))
        return term

    @abstractmethod
    def forward(self, features: Features) -> Term:
        """Computes the term.

        Args:
            features: Unit vectors in fp32 (or fp64), masks and ids; see :class:`lightning_cr.batch.Features`.
        """


def full_precision(features: Features) -> Features:
    """The same features with fp16 and bf16 tensors cast to fp32; fp32 and fp64 are left as they are."""
    tensors = {f.name: getattr(features, f.name) for f in fields(features)}
    half = (torch.float16, torch.bfloat16)
    cast: dict[str, Any] = {name: v.float() for name, v in tensors.items() if isinstance(v, Tensor) and v.dtype in half}
    gathered = None if features.gathered is None else full_precision(features.gathered)
    return replace(features, gathered=gathered, **cast)


def cosine(anchor: Tensor, others: Tensor) -> Tensor:
    """Cosine of each anchor with its own candidates.

    Not a matrix product: a candidate equal to the positive then gets the very same value (no TF32, one order of
    summing).

    Args:
        anchor: ``(B, D)`` unit norm.
        others: ``(B, K, D)`` unit norm.

    Returns:
        ``(B, K)`` cosines.
    """
    return (anchor.unsqueeze(1) * others).sum(-1)


def hide(logits: Tensor, mask: Tensor) -> Tensor:
    """Takes the entries where ``mask`` is false out of a softmax.

    The lowest finite number, not -inf: the softmax gives exactly 0 for it in value and gradient, and a row in which
    nothing is left stays free of NaN.
    """
    return logits.masked_fill(~mask, torch.finfo(logits.dtype).min)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the valid entries of *all* ranks, as this rank's share of it.

    The mean over ranks of what each returns is ``sum of valid values / number of valid entries`` of the global batch.
    With no valid entry anywhere it is exactly 0, still attached to the graph.

    Args:
        values: Any shape.
        mask: Bool, of the same shape.
    """
    count = distributed.all_reduce_sum(mask.sum().to(values.dtype))
    total = values.masked_fill(~mask, 0.0).sum()
    return total * distributed.world_size() / count.clamp(min=1.0)


def one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuses an option's value that is not one of the allowed.

    Raises:
        ConfigError: Names the option, the value and what is allowed.
    """
    if value not in allowed:
        raise ConfigError(f"{option}: {value!r} is not one of {', '.join(allowed)}.{suggest(str(value), allowed)}")


def require_negative_image(features: Features, term: str) -> None:
    """Refuses features without a slot for negative images: a term must never vanish in silence.

    Raises:
        ConfigError: ``features.negative_image`` has no slot (J = 0).
    """
    if features.negative_image.shape[1] == 0:
        raise ConfigError(
            f"{term} compares captions with negative images, but the features hold none (J = 0); "
            "set model.image_negatives (such as VisualPerturbation), or data that brings negative images"
        )
