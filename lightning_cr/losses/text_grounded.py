"""A caption between what it was at the start and its own hard negatives: text against text."""

from __future__ import annotations

import math

import torch

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Loss, Term, cosine, hide, masked_mean

__all__ = ["TextGroundedLoss"]


class TextGroundedLoss(Loss):
    r"""DeGLA's text-grounded contrast, from the frozen start.

    With :math:`T^0_i` the caption as the initial weights see it and a fixed scale :math:`\sigma`:

    .. math::
        L = \operatorname{mean}_{i: n_i > 0} \log \Big( 1 + \sum_k m_{ik} e^{\sigma (T_i N_{ik} - T_i T^0_i)} \Big)

    DeGLA (Hu et al. 2025, arXiv 2504.16801), read from ``src/open_clip/loss.py`` (``get_text_local_loss``). Where we
    differ: its teacher is a moving average of the weights, ours the frozen start. With K > 1 its rows take every B-th
    negative for their own (its image-grounded term takes K in a row); ours are the caption's own.

    Args:
        weight: Factor in the sum of terms (DeGLA: 0.1).
        scale: Factor sigma from cosine to logit (DeGLA: 10).
    """

    needs = frozenset({"negative_text", "initial_text"})

    def __init__(self, weight: float = 0.1, scale: float = 10.0) -> None:
        super().__init__(weight)
        if not 0 < scale < math.inf:
            raise ConfigError(f"scale: {scale} must be greater than 0")
        self.scale = scale

    def forward(self, features: Features) -> Term:
        """Computes the term; reports ``lead``, the mean of what the own start leads a hard negative by, in cosine.

        Raises:
            ConfigError: The features hold none of the initial weights.
        """
        if features.initial_text is None:
            raise ConfigError(
                "TextGroundedLoss compares with the captions of the initial weights, but the features hold none; the"
                " task gives them where a loss's needs name initial_text"
            )
        mask = features.negative_text_mask
        lead = cosine(features.text, features.initial_text.unsqueeze(1)) - cosine(features.text, features.negative_text)
        zero = lead.new_zeros((len(lead), 1))
        value = torch.cat([zero, hide(-self.scale * lead, mask)], dim=1).logsumexp(1)
        return Term(masked_mean(value, mask.any(1)), {"lead": masked_mean(lead.detach(), mask)})
