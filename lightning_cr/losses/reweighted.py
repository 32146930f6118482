"""Contrastive loss whose negatives count the more the closer they are, corrected for false negatives."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Loss, Term, hide
from lightning_cr.losses.candidates import Candidates, Scope, image_candidates, needs_of, text_candidates

__all__ = ["ReweightedContrastiveLoss"]


class ReweightedContrastiveLoss(Loss):
    r"""HCL: contrastive learning with hard negative samples, between images and captions.

    For an anchor with the positive logit p and n negatives :math:`z_1 \dots z_n` (s the logit scale):

    .. math::
        R = n \frac{\sum_j e^{\beta z_j} e^{z_j}}{\sum_j e^{\beta z_j}}, \qquad
        G = \max\Big( \frac{R - \tau^+ n\, e^{p}}{1 - \tau^+},\; n\, e^{-s} \Big), \qquad
        \ell = -\log \frac{e^{p}}{e^{p} + G}

    and L is half the sum of the means over images (against other captions and hard negatives) and over captions
    (against other images). Robinson et al. 2021 (arXiv 2010.04592); read from its code (``joshr17/HCL``,
    ``image/main.py``, estimator ``hard``), where gradient flows through the weights too. Here it is computed in
    logarithms, so that it is finite at a logit scale of 100. The paper contrasts two views of an image; across two
    towers, and with hard negatives among the negatives, is **our reading**. ``beta=0, tau_plus=0`` is CLIP's (or
    NegCLIP's) loss exactly.

    The correction takes a negative for false with probability :math:`\tau^+`: where the positive leads the weighted
    mean of the negatives by :math:`-\log \tau^+` logits (2.3 at 0.1), G is at its floor and the anchor is done. The
    paper's scale is 2; at CLIP's 100 the weights :math:`e^{\beta z}` are nearly one-hot at beta 1: try 0.02.

    Args:
        weight: Factor in the sum of terms.
        hard_negatives: Hard negative captions in the rows of an image: ``none``, its ``own``, or those of ``all``.
        beta: How sharply the weights follow the logits, without unit (the paper: 1); 0 weighs all alike.
        tau_plus: Probability that a negative is a false one, in [0, 1) (the paper: 0.1).
    """

    def __init__(
        self, weight: float = 1.0, hard_negatives: Scope = "all", beta: float = 1.0, tau_plus: float = 0.1
    ) -> None:
        super().__init__(weight)
        self.needs = needs_of(hard_negatives)
        if not 0 <= beta < math.inf:
            raise ConfigError(f"beta: {beta} must be 0 (all negatives alike) or more")
        if not 0 <= tau_plus < 1:
            raise ConfigError(f"tau_plus: {tau_plus} is a probability; it must be 0 or more and below 1")
        self.hard_negatives = hard_negatives
        self.beta = beta
        self.tau_plus = tau_plus

    def forward(self, features: Features) -> Term:
        """Computes the term; reports ``done``, the share of image and caption rows whose G is at its floor."""
        image, image_done = self._rows(image_candidates(features, self.hard_negatives), features.logit_scale)
        text, text_done = self._rows(text_candidates(features), features.logit_scale)
        return Term((image + text) / 2, {"done": (image_done + text_done) / 2})

    def _rows(self, rows: Candidates, scale: Tensor) -> tuple[Tensor, Tensor]:
        count = rows.valid.sum(1).to(rows.own.dtype)
        log_count = count.clamp(min=1.0).log()
        tilted = hide((1 + self.beta) * rows.others, rows.valid).logsumexp(1)
        log_r = log_count + tilted - hide(self.beta * rows.others, rows.valid).logsumexp(1)
        floor = log_count - scale
        log_g = log_r
        if self.tau_plus:
            # log(R - tau n e^p): only where the difference is above rounding, or its gradient would be infinite.
            lead = math.log(self.tau_plus) + log_count + rows.own - log_r
            above = lead < -1e-6
            corrected = log_r + torch.log(-torch.expm1(torch.where(above, lead, -1.0)))
            log_g = torch.where(above, corrected - math.log1p(-self.tau_plus), floor)
        log_g = torch.maximum(log_g, floor)
        value = functional.softplus(log_g - rows.own).masked_fill(count == 0, 0.0)
        done = (log_g <= floor).to(value.dtype)
        return value.mean(), done.detach().mean()
