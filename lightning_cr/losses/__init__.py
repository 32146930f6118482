"""Loss terms: :class:`Features` in, a value that enters the sum and a report out; one file a term."""

from lightning_cr.losses.as_released import (
    ReleasedContrastiveLoss,
    ReleasedIntraModalLoss,
    ReleasedMultimodalLoss,
    ReleasedRankLoss,
)
from lightning_cr.losses.base import Loss, Term
from lightning_cr.losses.cement import CementLoss
from lightning_cr.losses.contrastive import ContrastiveLoss
from lightning_cr.losses.cross_modal_rank import CrossModalRankLoss
from lightning_cr.losses.decoupled import DecoupledContrastiveLoss
from lightning_cr.losses.distillation import DistillationLoss
from lightning_cr.losses.dynamic_margin import DynamicMarginLoss
from lightning_cr.losses.focal_hard_negative import FocalHardNegativeLoss
from lightning_cr.losses.intra_modal import IntraModalContrastiveLoss
from lightning_cr.losses.multimodal_hard_negative import MultimodalHardNegativeLoss
from lightning_cr.losses.reweighted import ReweightedContrastiveLoss
from lightning_cr.losses.sigmoid import SigmoidLoss
from lightning_cr.losses.text_grounded import TextGroundedLoss
from lightning_cr.losses.triplet import TripletContrastiveLoss

__all__ = [
    "CementLoss",
    "ContrastiveLoss",
    "CrossModalRankLoss",
    "DecoupledContrastiveLoss",
    "DistillationLoss",
    "DynamicMarginLoss",
    "FocalHardNegativeLoss",
    "IntraModalContrastiveLoss",
    "Loss",
    "MultimodalHardNegativeLoss",
    "ReleasedContrastiveLoss",
    "ReleasedIntraModalLoss",
    "ReleasedMultimodalLoss",
    "ReleasedRankLoss",
    "ReweightedContrastiveLoss",
    "SigmoidLoss",
    "Term",
    "TextGroundedLoss",
    "TripletContrastiveLoss",
]
