"""Intra-modal contrast: a caption against hard negative captions, text with text."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Loss, Term, cosine, hide, masked_mean, one_of

__all__ = ["IntraModalContrastiveLoss"]


class IntraModalContrastiveLoss(Loss):
    r"""CE-CLIP's intra-modal contrastive loss **in our reading**: its code, history and stated intent disagree.

    In logits, with :math:`S_i = \sum_c e^{s T_i N_c}` over the caption's own hard negatives that exist
    (``scope: own``), or over those of all captions of all ranks (``all``):

    .. math::
        \text{none: } L_i = \log S_i, \qquad
        \text{self: } L_i = -\log \frac{e^s}{e^s + S_i}, \qquad
        \text{caption: } L_i = -\log \frac{e^{s T_i P_i}}{e^{s T_i P_i} + S_i}

    L is the mean over those captions of all ranks that have a column at all: log 0 is no number, so a caption without
    is neither in the sum nor in the count. Where none has one, L is exactly 0.

    ``none`` is the log-sum-exp alone: the useful part of CE-CLIP's public code (arXiv 2306.08832,
    ``src/open_clip/loss.py:353-362``), and its equation (3) as remembered, whose text was not found. The code adds a
    pull of every caption to one arbitrary text: :class:`lightning_cr.losses.as_released.ReleasedIntraModalLoss`. It
    needs no normaliser: with n columns L_i is between log n - s and log n + s, its gradient to T_i no longer than s,
    and log n has no gradient. But it lies near s, beside other terms below 1, and to lower it the logit scale falls:
    the gradient there is the softmax's mean cosine, which has one sign. ``detach_scale`` stops that.

    ``self`` and ``caption`` are never negative and depend on differences of cosines alone. ``caption``, P_i another
    true caption of the image, is the contrast as it should be; ``self`` takes T_i for P_i and needs no data. Both are
    ours. The public history once set the cross-modal I_i T_i (cosine about 0.3) against these negatives (about 0.95),
    and took it back after five weeks.

    It is text only, as CE-CLIP's is; there is no image side to reproduce. Captions against negative images are
    :class:`lightning_cr.losses.multimodal_hard_negative.MultimodalHardNegativeLoss`.

    Args:
        weight: Factor in the sum of terms (CE-CLIP: 0.2 in the script of 2023, 0.3 in that of 2024).
        positive: What the negatives are set against: ``none``, the caption ``self``, or another ``caption`` of the
            image, of which the data must draw one (``data.positives: 1``).
        scope: Hard negatives that are columns: the ``own``, or those of ``all`` captions as in the public code.
        without_positive: With ``positive: caption``, what of a caption whose image has no other: ``leave_out`` also
            refuses data that draw none; ``none`` and ``self`` give it, and all of such data, the form of that name.
        detach_scale: Stop the gradient to the logit scale (ours).

    Raises:
        ConfigError: An option that is not one of those, or ``without_positive`` where no positive is asked for.
    """

    def __init__(
        self,
        weight: float = 0.2,
        positive: Literal["none", "self", "caption"] = "none",
        scope: Literal["own", "all"] = "own",
        without_positive: Literal["leave_out", "none", "self"] = "leave_out",
        detach_scale: bool = False,
    ) -> None:
        super().__init__(weight)
        one_of("positive", positive, ("none", "self", "caption"))
        one_of("scope", scope, ("own", "all"))
        one_of("without_positive", without_positive, ("leave_out", "none", "self"))
        if positive != "caption" and without_positive != "leave_out":
            raise ConfigError(
                f"without_positive: {without_positive!r} is for positive 'caption', not {positive!r}; leave it out"
            )
        self.positive = positive
        self.scope = scope
        self.without_positive = without_positive
        self.detach_scale = detach_scale
        strict = positive == "caption" and without_positive == "leave_out"
        self.needs = frozenset({"negative_text", "positive_text"} if strict else {"negative_text"})

    def forward(self, features: Features) -> Term:
        """Computes the term.

        Reports ``similarity``, the mean cosine of captions with their own hard negatives; with ``positive: caption``
        also ``positive_similarity``, that with the other caption, and ``positives``, the share that has one.
        """
        scale = features.logit_scale.detach() if self.detach_scale else features.logit_scale
        own = cosine(features.text, features.negative_text)
        report = {"similarity": masked_mean(own.detach(), features.negative_text_mask)}
        if self.scope == "own":
            logits, mask = scale * own, features.negative_text_mask
        else:
            columns, exist = features.all.negative_text.flatten(0, 1), features.all.negative_text_mask.flatten()
            logits, mask = scale * features.text @ columns.T, exist.expand(len(features), -1)
        nothing = logits.new_full((len(features), 1), torch.finfo(logits.dtype).min)  # so that an empty sum is a number
        crowd = torch.cat([hide(logits, mask), nothing], dim=1).logsumexp(1)
        counted = mask.any(1)
        if self.positive != "caption":
            return Term(masked_mean(_form(self.positive, crowd, scale), counted), report)

        near = cosine(features.text, features.positive_text)
        exist = features.positive_text_mask
        report["positive_similarity"] = masked_mean(near.detach(), exist)
        report["positives"] = exist.any(1).to(near.dtype).mean()
        values = softplus(crowd.unsqueeze(1) - scale * near).masked_fill(~exist, 0.0).sum(1)
        values = values / exist.sum(1).clamp(min=1)
        if self.without_positive == "leave_out":
            counted = counted & exist.any(1)
        else:
            values = torch.where(exist.any(1), values, _form(self.without_positive, crowd, scale))
        return Term(masked_mean(values, counted), report)


def _form(positive: str, crowd: Tensor, scale: Tensor) -> Tensor:
    """L_i without another caption, from log S_i."""
    return crowd if positive == "none" else softplus(crowd - scale)
