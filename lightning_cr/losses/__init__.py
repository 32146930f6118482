"""Loss terms: :class:`Features` in, a value that enters the sum and a report out; one file a term."""

from lightning_cr.losses.as_released import (
    ReleasedContrastiveLoss,
    ReleasedIntraModalLoss,
    ReleasedMultimodalLoss,
    ReleasedRankLoss,
)
from lightning_cr.losses.base import Loss, Term
from lightning_cr.losses.contrastive import ContrastiveLoss
from lightning_cr.losses.cross_modal_rank import CrossModalRankLoss
from lightning_cr.losses.dynamic_margin import DynamicMarginLoss
from lightning_cr.losses.intra_modal import IntraModalContrastiveLoss
from lightning_cr.losses.multimodal_hard_negative import MultimodalHardNegativeLoss

__all__ = [
    "ContrastiveLoss",
    "CrossModalRankLoss",
    "DynamicMarginLoss",
    "IntraModalContrastiveLoss",
    "Loss",
    "MultimodalHardNegativeLoss",
    "ReleasedContrastiveLoss",
    "ReleasedIntraModalLoss",
    "ReleasedMultimodalLoss",
    "ReleasedRankLoss",
    "Term",
]
