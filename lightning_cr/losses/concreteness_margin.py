"""Margins by concreteness; part of the base of the Cement-style (reconstructed) term."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import one_of

__all__ = ["ConcretenessMargin", "Direction", "MarginMode", "Norm", "Units"]

MarginMode = Literal["none", "static", "adaptive", "calibrated"]
Direction = Literal["increasing", "decreasing"]
Units = Literal["cosine", "logit"]
Norm = Literal["(M-1)/4", "M/5"]


class ConcretenessMargin(nn.Module):
    r"""One margin a hard negative, from how concrete the concept is that it replaces; constants, without gradient.

    .. math:: m = m_{min} + (m_{max} - m_{min}) \, c^\gamma

    or, calibrated by how near a frozen encoder sees hard negatives of each concreteness to their pictures,

    .. math:: m = m_{min} + \kappa \, (\hat s(c_{ref}) - \hat s(c))

    A reconstruction: the map from concreteness to margin in Slipform (arXiv 2604.13313) is not known.

    Args:
        mode: ``adaptive``: the first formula; ``calibrated``: the second, of which ``m_max``, ``log_odds``, ``gamma``,
            ``norm`` and ``direction`` are no part; ``static``: ``m_max`` for every hard negative (for a fair comparison
            the mean ``margin`` that the adaptive run logs); ``none``: 0.
        direction: ``increasing``: concrete edits get the larger margin; ``decreasing``: c becomes 1 - c.
        units: Of the margin, also of the logged one: ``cosine`` (it is multiplied by the logit scale, and so grows in
            logits as that is learned up) or ``logit``.
        m_min: Margin at c = 0, in ``units``; of ``calibrated`` that at ``c_ref``.
        m_max: Margin at c = 1, in ``units``; None takes it from ``log_odds``.
        log_odds: Where ``m_max`` is None: by how much the log-odds of the hard share rise at c = 1 (3: odds x 20). In
            logits that is ``m_max``; in cosines ``m_max`` is this over the logit scale of the first training batch,
            kept from then on: 0.21 at tau 0.07, 0.03 at 0.01.
        gamma: Exponent, above 0; 1 is linear.
        norm: c of the mean rating M from 1 to 5: ``(M-1)/4`` in [0, 1], or ``M/5`` in [0.2, 1].
        unrated: c, in [0, 1] before ``norm``, of a hard negative whose concreteness is NaN: a number, or ``mean``, that
            of the rated hard negatives of the global batch (0.5 where none is rated).
        knots: Of ``calibrated``: pairs of c, rising in [0, 1], and the cosine there, monotone; straight lines between
            them and flat beyond. ``scripts/calibrate_margin.py`` writes them.
        kappa: Of ``calibrated``: margin, in ``units``, for each unit of cosine; 0 or more.
        c_ref: Of ``calibrated``: c, in [0, 1], at which the margin is ``m_min``.

    Attributes:
        initial_scale: Scalar, the logit scale of the first training batch, 0 before it; in the checkpoint.

    Raises:
        ConfigError: A value that is not allowed, ``m_min`` without or above ``m_max``, or knots that are no monotone
            map.
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
        knots: Sequence[tuple[float, float]] | None = None,
        kappa: float = 1.0,
        c_ref: float = 0.0,
    ) -> None:
        super().__init__()
        one_of("mode", mode, ("none", "static", "adaptive", "calibrated"))
        one_of("direction", direction, ("increasing", "decreasing"))
        one_of("units", units, ("cosine", "logit"))
        one_of("norm", norm, ("(M-1)/4", "M/5"))
        for name, value in (("m_min", m_min), ("m_max", m_max or 0.0), ("log_odds", log_odds)):
            if not math.isfinite(value):
                raise ConfigError(f"{name}: {value} must be finite")
        _check_knots(mode, knots, kappa, c_ref)
        if m_max is None and m_min and mode != "calibrated":
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
        self.knots = [] if knots is None else [(float(c), float(cosine)) for c, cosine in knots]
        self.kappa = kappa
        self.c_ref = c_ref
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
        if self.mode == "calibrated":
            return torch.where(mask, self._calibrated(c), 0.0)
        if self.norm == "M/5":
            c = (4 * c + 1) / 5
        if self.direction == "decreasing":
            c = 1 - c
        return torch.where(mask, self.m_min + (top - self.m_min) * c**self.gamma, 0.0)

    @torch.no_grad()
    def largest(self, logit_scale: Tensor) -> Tensor:
        """``m_max`` in force, in ``units``; before the first training batch that of ``logit_scale``.

        Of the calibrated map it is the margin at c = 0 or c = 1, whichever is larger.
        """
        if self.mode == "none":
            return torch.zeros_like(logit_scale)
        if self.mode == "calibrated":
            return self._calibrated(logit_scale.new_tensor([0.0, 1.0])).max()
        if self.m_max is not None or self.units == "logit":
            return torch.full_like(logit_scale, self.log_odds if self.m_max is None else self.m_max)
        kept = self.initial_scale.to(logit_scale.dtype)
        return self.log_odds / torch.where(kept > 0, kept, logit_scale)

    def _calibrated(self, c: Tensor) -> Tensor:
        """The margin at each c in [0, 1]."""
        # Made anew, and no buffer: a buffer would be rounded with the model where that is held in half precision.
        table = torch.tensor(self.knots, dtype=c.dtype, device=c.device)
        reference = _straight(c.new_tensor(self.c_ref), table)
        return self.m_min + self.kappa * (reference - _straight(c, table))

    def _filled(self, concreteness: Tensor, mask: Tensor) -> Tensor:
        rated = mask & ~concreteness.isnan()
        known = torch.where(rated, concreteness, 0.0).clamp(0.0, 1.0)
        if self.unrated != "mean":
            return torch.where(rated, known, float(self.unrated))
        count = rated.sum()
        return torch.where(rated, known, torch.where(count > 0, known.sum() / count.clamp(min=1), 0.5))


def _straight(x: Tensor, table: Tensor) -> Tensor:
    """Straight lines through the rows ``(x, y)`` of a table, flat beyond its first and last."""
    known, value = table.unbind(1)
    left = torch.bucketize(x, known[1:-1].contiguous(), right=True)
    share = ((x - known[left]) / (known[left + 1] - known[left])).clamp(0.0, 1.0)
    return value[left].lerp(value[left + 1], share)


def _check_knots(mode: str, knots: Sequence[tuple[float, float]] | None, kappa: float, c_ref: float) -> None:
    cure = "python scripts/calibrate_margin.py writes them"
    if (mode == "calibrated") != (knots is not None):
        given = "it is None" if knots is None else f"mode is {mode}"
        raise ConfigError(f"knots: they belong to mode calibrated and to it alone, and {given}; {cure}")
    if not 0 <= kappa < math.inf:
        raise ConfigError(f"kappa: {kappa} must be 0 or more and finite; 1 makes up for the frozen encoder's own slope")
    if not 0 <= c_ref <= 1:
        raise ConfigError(f"c_ref: {c_ref} must be a concreteness from 0 to 1")
    if knots is None:
        return
    if len(knots) < 2:
        raise ConfigError(f"knots: there must be 2 or more pairs of concreteness and cosine, not {len(knots)}; {cure}")
    for c, cosine in knots:
        if not (0 <= c <= 1 and -2 <= cosine <= 2):
            raise ConfigError(
                f"knots: {[c, cosine]} must be a concreteness from 0 to 1 and a cosine (or a gap of two); {cure}"
            )
    for (before, _), (after, _) in pairwise(knots):
        if before >= after:
            raise ConfigError(f"knots: concreteness must rise from each to the next, not from {before} to {after}")
    steps = [after - before for (_, before), (_, after) in pairwise(knots)]
    if min(steps) < 0 < max(steps):
        raise ConfigError(
            f"knots: the cosines must only rise or only fall, and they do both ({min(steps):+.3g},"
            f" {max(steps):+.3g}); {cure}"
        )
