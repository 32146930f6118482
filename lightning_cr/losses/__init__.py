"""Loss terms: :class:`Features` in, a value that enters the sum and a report out; one file a term."""

from lightning_cr.losses.base import Loss, Term
from lightning_cr.losses.cement import CementLoss
from lightning_cr.losses.contrastive import ContrastiveLoss
from lightning_cr.losses.cross_modal_rank import CrossModalRankLoss
from lightning_cr.losses.dynamic_margin import DynamicMarginLoss
from lightning_cr.losses.multimodal_hard_negative import MultimodalHardNegativeLoss

__all__ = [
    "CementLoss",
    "ContrastiveLoss",
    "CrossModalRankLoss",
    "DynamicMarginLoss",
    "Loss",
    "MultimodalHardNegativeLoss",
    "Term",
]
