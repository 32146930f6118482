"""Cross-modal rank: the true caption must lead its own hard negatives by a threshold a kind."""

from __future__ import annotations

from lightning_cr.batch import Features
from lightning_cr.losses.base import Term
from lightning_cr.losses.threshold import RankLoss

__all__ = ["CrossModalRankLoss"]


class CrossModalRankLoss(RankLoss):
    r"""CE-CLIP's cross-modal rank loss with adaptive thresholds.

    In logits, with :math:`p_i = s I_i T_i` and :math:`u_{ik} = s I_i N_{ik}`:

    .. math:: L = \frac{1}{B K} \sum_{ik} m_{ik} \, [\tau_k + u_{ik} - p_i]_+

    CE-CLIP (arXiv 2306.08832), ``src/open_clip/loss.py:334-351``. Validity comes from the mask, never from ``u != 0``.
    Options: :class:`lightning_cr.losses.threshold.RankLoss`.
    """

    def forward(self, features: Features) -> Term:
        """Computes the term; see :meth:`lightning_cr.losses.threshold.RankLoss.rank`."""
        return self.rank(features)
