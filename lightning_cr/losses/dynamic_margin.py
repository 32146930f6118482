"""Dynamic margin: an absolute margin on the true pair, and adaptive thresholds on its hard negatives."""

from __future__ import annotations

import torch

from lightning_cr.batch import Features
from lightning_cr.losses.base import Loss, Term, cosine, one_of
from lightning_cr.losses.threshold import AdaptiveThreshold, Reduction, ThresholdMode, rank_hinge

__all__ = ["DynamicMarginLoss"]


class DynamicMarginLoss(Loss):
    r"""AHNPL's dynamic margin loss; its positive part is **our reading**.

    .. math::
        L = w \operatorname{mean}_i [\alpha - \cos(I_i, T_i)]_+
            + \frac{1}{B K} \sum_{ik} m_{ik} [\tau_k + s I_i N_{ik} - s I_i T_i]_+

    The first part is in cosines: the public code (AHNPL, arXiv 2505.15576, ``loss.py:233-254``) takes logits, which
    lie near 30, so that it is exactly 0 (and is never switched on). :math:`\alpha` is fixed: learned as there, its
    gradient is never negative and it only shrinks to its floor. The second part is CE-CLIP's cross-modal rank in
    logits.

    Args:
        weight: Factor in the sum of terms (AHNPL's script: 0.2).
        positive_margin: Margin alpha on the true pair, in cosine (0.2 is the public code's floor).
        positive_weight: Factor w of the positive part; 0 leaves the rank part alone.
        threshold: ``mean``, ``max`` or ``fixed``; see :class:`lightning_cr.losses.threshold.AdaptiveThreshold`.
        fixed: Threshold of ``fixed``, in logits.
        upper_bound: Clamp of the adaptive thresholds, in logits.
        reset_each_epoch: Thresholds start each epoch at 0.
        reduction: ``slots`` divides by B K, ``valid`` by the number of negatives that exist, over all ranks.
    """

    needs = frozenset({"negative_text"})

    def __init__(
        self,
        weight: float = 0.2,
        positive_margin: float = 0.2,
        positive_weight: float = 1.0,
        threshold: ThresholdMode = "mean",
        fixed: float = 2.0,
        upper_bound: float = 10.0,
        reset_each_epoch: bool = True,
        reduction: Reduction = "slots",
    ) -> None:
        super().__init__(weight)
        one_of("reduction", reduction, ("slots", "valid"))
        self.positive_margin = positive_margin
        self.positive_weight = positive_weight
        self.reduction = reduction
        self.threshold = AdaptiveThreshold(threshold, fixed, upper_bound, reset_each_epoch=reset_each_epoch)

    def bind(self, kinds: tuple[str, ...]) -> None:
        """Makes the thresholds, one a kind."""
        self.threshold.bind(kinds)
        super().bind(kinds)

    def on_epoch_start(self) -> None:
        """Resets the thresholds, where configured."""
        self.threshold.reset()

    def forward(self, features: Features) -> Term:
        """Computes the term; reports its parts ``positive`` and ``rank``, ``threshold/<kind>`` and ``margin/<kind>``.

        Raises:
            ConfigError: The batch's kinds are not those the thresholds are for.
        """
        cosines = cosine(features.image, features.text.unsqueeze(1))
        positive = torch.relu(self.positive_margin - cosines).mean()
        gap = features.logit_scale * (cosines - cosine(features.image, features.negative_text))
        threshold = self.threshold(gap, features.negative_text_mask, features.kinds)
        rank = rank_hinge(gap, features.negative_text_mask, threshold, self.reduction)
        report = {"positive": positive.detach(), "rank": rank.detach()} | self.threshold.report(threshold)
        return Term(self.positive_weight * positive + rank, report)
