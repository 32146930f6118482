"""Own hard negatives in a softmax of their own, with a focal factor and smoothed labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Loss, Term, cosine, hide, masked_mean

__all__ = ["FocalHardNegativeLoss"]


class FocalHardNegativeLoss(Loss):
    r"""FSC-CLIP's global hard-negative loss.

    Each image chooses between its caption (c = 0) and its own K hard negatives, never those of others, so that easy and
    hard negatives do not compete. With the softmax :math:`P_{ic}` of the logits over what exists, :math:`n_i` the
    number of hard negatives of image i, and the labels :math:`y_{i0} = 1 - \lambda + \lambda / (1 + n_i)`,
    :math:`y_{ik} = \lambda / (1 + n_i)`:

    .. math:: L = \operatorname{mean}_{i: n_i > 0} \sum_{c} y_{ic} (1 - P_{ic})^{\gamma} (-\log P_{ic})

    FSC-CLIP (Oh et al. 2024, arXiv 2410.05210), read from ``src/training/losses/loss.py`` (``Global_HNLoss``,
    ``_focal_loss_with_nsr``). Where we differ: there an empty slot stays in the softmax with the logit 0, and each
    process takes the mean over its own images. Not here: the paper's *local* loss, which compares single tokens with
    the patches they look at; the features hold none. Beside it stands a contrastive loss without hard negatives.
    With gamma and smoothing 0 it is the image-grounded contrast of DeGLA (arXiv 2504.16801; weight 0.1).

    Args:
        weight: Factor in the sum of terms (FSC-CLIP's script for COCO: 0.5).
        gamma: Power of the focal factor, without unit: 0 (none), or 1 or more (FSC-CLIP: 2). Between 0 and 1 the
            gradient at a certain answer is infinite.
        smoothing: Share lambda of the label that is spread over all that exist, in [0, 1) (FSC-CLIP: 0.02).
    """

    needs = frozenset({"negative_text"})

    def __init__(self, weight: float = 0.5, gamma: float = 2.0, smoothing: float = 0.02) -> None:
        super().__init__(weight)
        if not (gamma == 0 or 1 <= gamma < math.inf):
            raise ConfigError(f"gamma: {gamma} must be 0 (no focal factor), or 1 or more")
        if not 0 <= smoothing < 1:
            raise ConfigError(f"smoothing: {smoothing} is a share; it must be 0 or more and below 1")
        self.gamma = gamma
        self.smoothing = smoothing

    def forward(self, features: Features) -> Term:
        """Computes the term; reports ``probability``, the mean of the true caption's where there is a hard negative."""
        mask = features.negative_text_mask
        candidates = torch.cat([features.text.unsqueeze(1), features.negative_text], dim=1)
        exists = torch.cat([mask.new_ones(len(mask), 1), mask], dim=1)
        logits = hide(features.logit_scale * cosine(features.image, candidates), exists)
        surprise = -logits.log_softmax(1).masked_fill(~exists, 0.0)
        value = (self._labels(exists.to(surprise.dtype)) * self._focal(surprise) * surprise).sum(1)
        posed = mask.any(1)
        probability = masked_mean(surprise[:, 0].detach().neg().exp(), posed)
        return Term(masked_mean(value, posed), {"probability": probability})

    def _labels(self, exists: Tensor) -> Tensor:
        spread = self.smoothing * exists / exists.sum(1, keepdim=True)
        spread[:, 0] += 1 - self.smoothing
        return spread

    def _focal(self, surprise: Tensor) -> Tensor | float:
        return (-torch.expm1(-surprise)) ** self.gamma if self.gamma else 1.0
