"""Pairwise sigmoid loss: every pair of image and caption is a question of its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lightning_cr import distributed
from lightning_cr.batch import Features
from lightning_cr.losses.base import Loss, Term
from lightning_cr.losses.candidates import Candidates, Scope, image_candidates, needs_of

__all__ = ["SigmoidLoss"]

HALVINGS = 50


class SigmoidLoss(Loss):
    r"""SigLIP's loss; own hard negatives are further negative pairs.

    Over the B images i of all ranks, their own caption and their negatives :math:`\mathcal N_i` (captions of other
    images, hard negatives), in logits:

    .. math:: L = \frac1B \sum_i \Big[ \log(1 + e^{-p_i - b}) + \sum_{z \in \mathcal N_i} \log(1 + e^{z + b}) \Big]

    Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training (arXiv 2303.15343); the sum is divided by the number
    of images, as in the authors' ``big_vision`` and in open_clip. Each rank takes its own images against the captions
    of all ranks. Hard negatives as pairs, and leaving out the other captions of an image, are **ours**.

    **The bias.** The paper learns b, from -10, and the scale, from 10. Here the scale is the encoder's own, and a loss
    holds no parameter. By default b is what learning it to the end on this batch would give: the minimum of L over b
    (all ranks' pairs count; a convex problem, solved by halving). There dL/db = 0, so that the gradient to the
    features is exact with b held fixed. For CLIP weights it matters: at a scale of 100 their logits lie near 20 to 30,
    and with a bias of -10 every negative would be wrong by 10 logits. A number is the fixed choice, for weights that
    were trained with it.

    Args:
        weight: Factor in the sum of terms.
        hard_negatives: Hard negative captions of an image as negative pairs: ``none``, its ``own``, or those of
            ``all`` images.
        bias: b in logits; by default the batch's best.
    """

    def __init__(self, weight: float = 1.0, hard_negatives: Scope = "own", bias: float | None = None) -> None:
        super().__init__(weight)
        self.needs = needs_of(hard_negatives)
        self.hard_negatives = hard_negatives
        self.bias = bias

    def forward(self, features: Features) -> Term:
        """Computes the term; reports ``bias`` in logits, equal on all ranks.

        Without any negative pair on any rank the best bias is infinite and the term 0.
        """
        rows = image_candidates(features, self.hard_negatives)
        if self.bias is None:
            bias, posed = best_bias(rows, features.logit_scale.detach())
        else:
            bias, posed = rows.own.new_tensor(self.bias), torch.ones_like(rows.own[0], dtype=torch.bool)
        wrong = functional.softplus(rows.others + bias).masked_fill(~rows.valid, 0.0).sum(1)
        value = (functional.softplus(-rows.own - bias) + wrong).mean()
        return Term(value * posed, {"bias": bias})


@torch.no_grad()
def best_bias(rows: Candidates, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The bias at which as many pairs are called true as there are true ones: the minimum of the loss over it.

    Args:
        rows: This rank's pairs.
        scale: Bound of the logits' size.

    Returns:
        Scalar in logits, the same on all ranks; whether there is any negative pair, without which it means nothing.
    """
    true, false = distributed.all_reduce_sum(
        torch.stack([rows.valid.new_tensor(len(rows.own), dtype=scale.dtype), rows.valid.sum().to(scale.dtype)])
    )
    ratio = (true / false.clamp(min=1.0)).log()
    low, high = ratio - scale - 1.0 - ratio.abs(), ratio + scale + 1.0 + ratio.abs()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        called = rows.others.add(middle).sigmoid().masked_fill(~rows.valid, 0.0).sum()
        called = distributed.all_reduce_sum(called + rows.own.add(middle).sigmoid().sum())
        low, high = torch.where(called < true, middle, low), torch.where(called < true, high, middle)
    return (low + high) / 2, false > 0
