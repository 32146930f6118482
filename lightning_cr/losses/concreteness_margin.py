"""Margins by concreteness; part of the base of the Cement-style (reconstructed) term."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import one_of

__all__ = ["ConcretenessMargin", "Direction", "MarginMode", "Norm", "Units"]

MarginMode = Literal["none", "static", "adaptive"]
Direction = Literal["increasing", "decreasing"]
Units = Literal["cosine", "logit"]
Norm = Literal["(M-1)/4", "M/5"]


class ConcretenessMargin(nn.Module):
    r"""One margin a hard negative, from how concrete the concept is that it replaces; constants, without gradient.

    .. math:: m = m_{min} + (m_{max} - m_{min}) \, c^\gamma

    A reconstruction: the map from concreteness to margin in Slipform (arXiv 2604.13313) is not known.

    Args:
        mode: ``adaptive``: the formula; ``static``: ``m_max`` for every hard negative (for a fair comparison the mean
            ``margin`` that the adaptive run logs); ``none``: 0.
        direction: ``increasing``: concrete edits get the larger margin; ``decreasing``: c becomes 1 - c.
        units: Of the margin, also of the logged one: ``cosine`` (it is multiplied by the logit scale, and so grows in
            logits as that is learned up) or ``logit``.
        m_min: Margin at c = 0, in ``units``.
        m_max: Margin at c = 1, in ``units``; None takes it from ``log_odds``.
        log_odds: Where ``m_max`` is None: by how much the log-odds of the hard share rise at c = 1 (3: odds x 20). In
            logits that is ``m_max``; in cosines ``m_max`` is this over the logit scale of the first training batch,
            kept from then on: 0.21 at tau 0.07, 0.03 at 0.01.
        gamma: Exponent, above 0; 1 is linear.
        norm: c of the mean rating M from 1 to 5: ``(M-1)/4`` in [0, 1], or ``M/5`` in [0.2, 1].
        unrated: c, in [0, 1] before ``norm``, of a hard negative whose concreteness is NaN: a number, or ``mean``, that
            of the rated hard negatives of the global batch (0.5 where none is rated).

    Attributes:
        initial_scale: Scalar, the logit scale of the first training batch, 0 before it; in the checkpoint.

    Raises:
        ConfigError: A value that is not allowed, or ``m_min`` without or above ``m_max``.
    """

    initial_scale: Tensor

    def __init__(
        self,
        mode: MarginMode = "adaptive",
        direction: Direction = "increasing",
        units: Units = "cosine",
        m_min: float = 0.0,
        m_max: float | None = None,
        log_odds: float = 3.0,
        gamma: float = 1.0,
        norm: Norm = "(M-1)/4",
        unrated: Literal["mean"] | float = "mean",
    ) -> None:
        super().__init__()
        one_of("mode", mode, ("none", "static", "adaptive"))
        one_of("direction", direction, ("increasing", "decreasing"))
        one_of("units", units, ("cosine", "logit"))
        one_of("norm", norm, ("(M-1)/4", "M/5"))
        for name, value in (("m_min", m_min), ("m_max", m_max or 0.0), ("log_odds", log_odds)):
            if not math.isfinite(value):
                raise ConfigError(f"{name}: {value} must be finite")
        if m_max is None and m_min:
            raise ConfigError(
                f"m_min: {m_min} needs m_max as a number, in {units}s; log_odds sets only the range from 0"
            )
        if m_max is not None and m_max < m_min:
            raise ConfigError(f"m_max: {m_max} is below m_min {m_min}; to turn the map round use direction: decreasing")
        if not 0 < gamma < math.inf:
            raise ConfigError(f"gamma: {gamma} must be above 0 and finite; 1 is linear")
        if unrated != "mean" and not (isinstance(unrated, int | float) and 0 <= unrated <= 1):
            raise ConfigError(f"unrated: {unrated!r} must be 'mean' or a concreteness from 0 to 1")
        self.mode = mode
        self.direction = direction
        self.units = units
        self.m_min = m_min
        self.m_max = m_max
        self.log_odds = log_odds
        self.gamma = gamma
        self.norm = norm
        self.unrated = unrated
        self.register_buffer("initial_scale", torch.zeros(()))

    @torch.no_grad()
    def forward(self, concreteness: Tensor, mask: Tensor, logit_scale: Tensor) -> Tensor:
        """Gives the margins; all are 0 in evaluation mode.

        Args:
            concreteness: ``(N, K)`` of all ranks, NaN where unrated; whatever stands in empty slots is not looked at.
            mask: ``(N, K)`` bool, the hard negatives that exist.
            logit_scale: Scalar; that of the first training batch is kept.

        Returns:
            ``(N, K)`` in ``units``, exactly 0 in empty slots.
        """
        if not self.training or self.mode == "none":
            return torch.zeros_like(concreteness)
        seen = self.initial_scale > 0
        self.initial_scale.copy_(torch.where(seen, self.initial_scale, logit_scale.to(self.initial_scale.dtype)))
        top = self.largest(logit_scale)
        if self.mode == "static":
            return torch.where(mask, top, 0.0)
        c = self._filled(concreteness, mask)
        if self.norm == "M/5":
            c = (4 * c + 1) / 5
        if self.direction == "decreasing":
            c = 1 - c
        return torch.where(mask, self.m_min + (top - self.m_min) * c**self.gamma, 0.0)

    @torch.no_grad()
    def largest(self, logit_scale: Tensor) -> Tensor:
        """``m_max`` in force, in ``units``; before the first training batch that of ``logit_scale``."""
        if self.mode == "none":
            return torch.zeros_like(logit_scale)
        if self.m_max is not None or self.units == "logit":
            return torch.full_like(logit_scale, self.log_odds if self.m_max is None else self.m_max)
        kept = self.initial_scale.to(logit_scale.dtype)
        return self.log_odds / torch.where(kept > 0, kept, logit_scale)

    def _filled(self, concreteness: Tensor, mask: Tensor) -> Tensor:
        rated = mask & ~concreteness.isnan()
        known = torch.where(rated, concreteness, 0.0).clamp(0.0, 1.0)
        if self.unrated != "mean":
            return torch.where(rated, known, float(self.unrated))
        count = rated.sum()
        return torch.where(rated, known, torch.where(count > 0, known.sum() / count.clamp(min=1), 0.5))
