"""Cross-modal rank: the true caption must lead its own hard negatives by a threshold a kind."""

from __future__ import annotations

from lightning_cr.batch import Features
from lightning_cr.losses.base import Loss, Term, cosine, one_of
from lightning_cr.losses.threshold import AdaptiveThreshold, Reduction, ThresholdMode, rank_hinge

__all__ = ["CrossModalRankLoss"]


class CrossModalRankLoss(Loss):
    r"""CE-CLIP's cross-modal rank loss with adaptive thresholds.

    In logits, with :math:`p_i = s I_i T_i` and :math:`u_{ik} = s I_i N_{ik}`:

    .. math:: L = \frac{1}{B K} \sum_{ik} m_{ik} \, [\tau_k + u_{ik} - p_i]_+

    CE-CLIP (arXiv 2306.08832), ``src/open_clip/loss.py:334-351``. Validity comes from the mask, never from ``u != 0``.

    Args:
        weight: Factor in the sum of terms (CE-CLIP's script: 0.2).
        threshold: ``mean``, ``max`` or ``fixed``; see :class:`lightning_cr.losses.threshold.AdaptiveThreshold`.
        fixed: Threshold of ``fixed``, in logits.
        upper_bound: Clamp of the adaptive thresholds, in logits (the paper: 10).
        reset_each_epoch: Thresholds start each epoch at 0, as in the public trainer.
        reduction: ``slots`` divides by B K as the public code does, so that a missing negative lowers the term;
            ``valid`` divides by the number of negatives that exist, over all ranks (ours).
    """

    needs = frozenset({"negative_text"})

    def __init__(
        self,
        weight: float = 0.2,
        threshold: ThresholdMode = "mean",
        fixed: float = 2.0,
        upper_bound: float = 10.0,
        reset_each_epoch: bool = True,
        reduction: Reduction = "slots",
    ) -> None:
        super().__init__(weight)
        one_of("reduction", reduction, ("slots", "valid"))
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
        """Computes the term; reports ``threshold/<kind>`` and ``margin/<kind>``, in logits.

        Raises:
            ConfigError: The batch's kinds are not those the thresholds are for.
        """
        positive = cosine(features.image, features.text.unsqueeze(1))
        gap = features.logit_scale * (positive - cosine(features.image, features.negative_text))
        threshold = self.threshold(gap, features.negative_text_mask, features.kinds)
        value = rank_hinge(gap, features.negative_text_mask, threshold, self.reduction)
        return Term(value, self.threshold.report(threshold))
