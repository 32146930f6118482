"""Cement-style (reconstructed): contrastive learning with a margin by concreteness on each own hard negative."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_cr import distributed
from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Loss, Term, hide, masked_mean, one_of
from lightning_cr.losses.concreteness_margin import ConcretenessMargin
from lightning_cr.losses.pair_rows import Layout, MarginScope, Rows, pair_rows

__all__ = ["CementLoss", "Denominator", "Placement"]

Placement = Literal["hard", "positive", "hinge"]
Denominator = Literal["standard", "decoupled"]


class CementLoss(Loss):
    r"""Cement-style (reconstructed): **not the authors' formula** (Slipform, arXiv 2604.13313), which was not read.

    Known from the abstract, the project page and third-party readings: an adaptive margin by concreteness, added to
    the logit of the hard negative, that shifts the balance of the gradient between hard and easy negatives. All else
    is our reconstruction. An anchor x of image or caption has the positive :math:`x^+`, own hard negatives H and easy
    negatives E (all others in the batch, all ranks); in cosines s, with the logit scale :math:`\alpha`:

    .. math::
        L_x = \log \Big( e^{\alpha s_+} + \sum_{h \in H} e^{\alpha (s_h + m_h)} + \sum_{j \in E} e^{\alpha s_j} \Big)
              - \alpha s_+, \qquad m_h = m_{min} + (m_{max} - m_{min}) \, c_h^\gamma

    and :math:`L` is half the mean over image anchors plus half that over caption anchors. The margin raises the
    log-odds of the hard share of the gradient by exactly :math:`\alpha m` for one hard negative, carries no gradient,
    and is there in training only. Which anchors and candidates there are says
    :func:`lightning_cr.losses.pair_rows.pair_rows`. With every margin 0, layout ``text`` is NegCLIP's loss.

    Placements for comparison: ``positive`` takes the margin from the positive instead (CosFace; for several hard
    negatives the mean of their margins), which leaves the hard share as it is; ``hinge`` leaves the softmax alone and
    adds :math:`\lambda` times the mean of :math:`[\alpha (m_h + s_h - s_+)]_+` over H (CE-CLIP's manner).

    Args:
        weight: Factor in the sum of terms.
        layout: ``joint`` (false captions k with false pictures k, 2N x 2N for K = 1), ``triplet`` or ``text``.
        placement: ``hard``, ``positive`` or ``hinge``.
        denominator: ``decoupled`` takes the positive out of the sum (DCL); an anchor with no negative then counts as 0.
        scope: Margin on an anchor's ``own`` hard negatives, or on those of ``all`` items; for placement ``hard``.
        hinge_weight: Factor lambda of ``hinge``, without unit.
        options: Of the margin, as of :class:`lightning_cr.losses.concreteness_margin.ConcretenessMargin`.

    Raises:
        ConfigError: A value that is not allowed.
    """

    def __init__(
        self,
        weight: float = 1.0,
        layout: Layout = "joint",
        placement: Placement = "hard",
        denominator: Denominator = "standard",
        scope: MarginScope = "own",
        hinge_weight: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(weight)
        one_of("layout", layout, ("joint", "triplet", "text"))
        one_of("placement", placement, ("hard", "positive", "hinge"))
        one_of("denominator", denominator, ("standard", "decoupled"))
        one_of("scope", scope, ("own", "all"))
        if scope == "all" and placement != "hard":
            raise ConfigError(f"scope: 'all' is for placement hard alone, and placement is {placement}; use scope: own")
        if not 0 <= hinge_weight < math.inf:
            raise ConfigError(f"hinge_weight: {hinge_weight} must be 0 or more and finite")
        self.layout = layout
        self.placement = placement
        self.denominator = denominator
        self.scope = scope
        self.hinge_weight = hinge_weight
        self.margin = ConcretenessMargin(**options)
        wanted = {
            "negative_text": True,
            "negative_image": layout != "text",
            "concreteness": self.margin.mode in ("adaptive", "calibrated"),
        }
        self.needs = frozenset(name for name, needed in wanted.items() if needed)

    def forward(self, features: Features) -> Term:
        """Computes the term, and reports what the paper's analysis is of, from the softmax itself.

        Means over the anchors of all ranks that have an own hard negative, images and captions together:

        - ``gradient/positive``, ``gradient/hard``, ``gradient/easy``: how strongly the anchor's own term pulls its
          positive up and pushes the others down, summed, per logit (times the logit scale: per cosine). Positive is
          hard plus easy.
        - ``hard_share``: hard / (hard + easy), the mean of the anchors' own.
        - ``cosine/positive``, ``cosine/hard``, ``cosine/easy``: mean similarities, without margin.

        And ``margin`` (mean over the hard negatives that exist) and ``m_max`` in force, in ``units``; ``unrated``,
        the share of the hard negatives that have no concreteness; ``logit_scale``. A mean over nothing is 0.

        Raises:
            ConfigError: The layout wants pictures, and there are none, or more or fewer than captions.
        """
        everyone, scale = features.all, features.logit_scale
        margin = self.margin(everyone.concreteness, everyone.negative_text_mask, scale)
        images, captions = pair_rows(features, margin, self.layout, self.scope)
        image_loss, image_shares = self._anchors(images, scale)
        caption_loss, caption_shares = self._anchors(captions, scale)
        value = (masked_mean(image_loss, images.exists) + masked_mean(caption_loss, captions.exists)) / 2
        report = _means(torch.cat([image_shares, caption_shares], dim=1))
        here, mask = slice(features.offset, features.offset + len(features)), features.negative_text_mask
        report["margin"] = masked_mean(margin[here], mask)
        report["unrated"] = masked_mean(features.concreteness.isnan().to(scale.dtype), mask)
        report["m_max"] = self.margin.largest(scale)
        report["logit_scale"] = scale.detach()
        return Term(value, report)

    def _anchors(self, rows: Rows, scale: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each anchor ``(A,)``, and what :func:`_shares` gives."""
        shift = rows.margin * scale if self.margin.units == "cosine" else rows.margin
        plain = scale * rows.cosines
        logits = plain + shift if self.placement == "hard" else plain
        positive = (logits.masked_fill(~rows.positive, 0.0)).sum(1, keepdim=True)
        count = rows.hard.sum(1, keepdim=True).clamp(min=1)
        if self.placement == "positive":
            positive = positive - shift.masked_fill(~rows.hard, 0.0).sum(1, keepdim=True) / count
            logits = torch.where(rows.positive, positive, logits)
        summed = rows.valid if self.denominator == "standard" else rows.valid & ~rows.positive
        log_sum = hide(logits, summed).logsumexp(1)
        loss = torch.where(summed.any(1), log_sum - positive.squeeze(1), 0.0)
        extra = torch.zeros_like(loss)
        if self.placement == "hinge" and self.training and self.margin.mode != "none":
            short = (shift + plain - positive).masked_fill(~rows.hard, 0.0)
            loss = loss + self.hinge_weight * (torch.relu(short) / count).sum(1)
            extra = self.hinge_weight * ((short.detach() > 0) / count).sum(1)
        return loss, _shares(rows, logits, log_sum, extra)


@torch.no_grad()
def _shares(rows: Rows, logits: Tensor, log_sum: Tensor, extra: Tensor) -> Tensor:
    """``(8, A)``: whether an anchor counts, then one row a name of :data:`_REPORTED`.

    Args:
        rows: The anchors and their candidates.
        logits: ``(A, C)``, with margins.
        log_sum: ``(A,)``, logarithm of the denominator.
        extra: ``(A,)``, what a hinge pushes the hard negatives down in addition.
    """
    others = rows.valid & ~rows.positive
    against = hide(logits, others)
    total = against.logsumexp(1)
    # Among the negatives first: where all of them together underflow, the hard share is still what it is.
    of_hard = (against - total[:, None]).exp().masked_fill(~rows.hard, 0.0).sum(1)
    pull = (total - log_sum).exp()
    hard, easy = pull * of_hard + extra, pull * (1 - of_hard)
    share = torch.where(extra > 0, hard / (hard + easy), of_hard)

    def mean_cosine(of: Tensor) -> Tensor:
        return rows.cosines.masked_fill(~of, 0.0).sum(1) / of.sum(1).clamp(min=1)

    cosines = [mean_cosine(of) for of in (rows.positive, rows.hard, others & ~rows.hard)]
    counted = (rows.exists & rows.hard.any(1)).to(pull.dtype)
    return torch.stack([counted, hard + easy, hard, easy, share, *cosines])


_REPORTED = (
    *("gradient/positive", "gradient/hard", "gradient/easy", "hard_share"),
    *("cosine/positive", "cosine/hard", "cosine/easy"),
)


def _means(shares: Tensor) -> dict[str, Tensor]:
    """Means over the anchors of all ranks that count, as this rank's share of them; see :func:`masked_mean`."""
    counts = shares[0] > 0
    sums = shares.masked_fill(~counts, 0.0).sum(1)
    count = distributed.all_reduce_sum(sums[0]).clamp(min=1)
    return dict(zip(_REPORTED, sums[1:] * distributed.world_size() / count, strict=True))
