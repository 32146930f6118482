"""Dynamic margin: an absolute margin on the true pair, and adaptive thresholds on its hard negatives."""

from __future__ import annotations

from typing import Any

import torch

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Term, cosine
from lightning_cr.losses.threshold import RankLoss

__all__ = ["DynamicMarginLoss"]


class DynamicMarginLoss(RankLoss):
    r"""AHNPL's dynamic margin loss; its positive part is **our reading**.

    .. math::
        L = w \operatorname{mean}_i [\alpha - \cos(I_i, T_i)]_+
            + \frac{v}{B K} \sum_{ik} m_{ik} [\tau_k + s I_i N_{ik} - s I_i T_i]_+

    The first part is in cosines: the public code (AHNPL, arXiv 2505.15576, ``loss.py:233-254``) takes logits, which
    lie near 30, so that it is exactly 0 (and is never switched on). :math:`\alpha` is fixed: learned as there, its
    gradient is never negative and it only shrinks to its floor. The second part is CE-CLIP's cross-modal rank in
    logits.

    Args:
        positive_margin: Margin alpha on the true pair, in cosine (0.2 is the public code's floor).
        positive_weight: Factor w of the positive part; 0 leaves the rank part alone. (The public code has a default of
            0.5 that nothing reads; its sum, if it ran, would be of equal parts.)
        rank_weight: Factor v of the rank part; 0 leaves the positive part alone.
        options: As of :class:`lightning_cr.losses.threshold.RankLoss`.

    Raises:
        ConfigError: A margin that is no cosine, a negative factor, or both factors 0.
    """

    def __init__(
        self,
        positive_margin: float = 0.2,
        positive_weight: float = 1.0,
        rank_weight: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not -1 <= positive_margin <= 1:
            raise ConfigError(f"positive_margin: {positive_margin} is no cosine; it must be from -1 to 1")
        for name, factor in (("positive", positive_weight), ("rank", rank_weight)):
            if factor < 0:
                raise ConfigError(f"{name}_weight: {factor} is negative; 0 turns the {name} part off")
        if positive_weight == rank_weight == 0:
            raise ConfigError(
                "positive_weight and rank_weight: both are 0, so that the loss does nothing; set one above 0, or take"
                " the loss out (in a --config, null takes an entry out)"
            )
        self.positive_margin = positive_margin
        self.positive_weight = positive_weight
        self.rank_weight = rank_weight

    def forward(self, features: Features) -> Term:
        """Computes the term.

        Reports its parts ``positive`` and ``rank`` without their factors, ``threshold/<kind>`` and ``margin/<kind>``.

        Raises:
            ConfigError: The batch's kinds are not those the thresholds are for.
        """
        cosines = cosine(features.image, features.text.unsqueeze(1))
        positive = torch.relu(self.positive_margin - cosines).mean()
        rank = self.rank(features)
        report = {"positive": positive.detach(), "rank": rank.value.detach()} | rank.report
        return Term(self.positive_weight * positive + self.rank_weight * rank.value, report)
