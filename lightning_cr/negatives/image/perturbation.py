"""Visual perturbation: the step from a caption to its hard negative, taken from the image."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.negatives.image.base import FeatureNegatives

__all__ = ["VisualPerturbation"]


class VisualPerturbation(FeatureNegatives):
    r"""AHNPL's visual perturbation: one negative image a hard negative caption.

    .. math:: J_{ik} = I_i + \lambda \operatorname{stopgrad}(N_{ik} - T_i), \qquad \hat J_{ik} = J_{ik} / |J_{ik}|

    AHNPL (arXiv 2505.15576), ``loss.py:197-207``. Where we differ: the public code does not normalise (its "logits"
    then are no cosines; normalising is our reading), has no factor :math:`\lambda`, and perturbs by invalid negatives
    as well.

    Args:
        detach: Stop the gradient of the step, so that it reaches the image tower alone, as in the public code.
        normalize: Bring the result to unit norm, as the features' contract wants; false replicates the public code.
        scale: Factor lambda, without unit.

    Raises:
        ConfigError: ``scale`` is not above 0.
    """

    def __init__(self, detach: bool = True, normalize: bool = True, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ConfigError(
                f"scale: {scale} must be greater than 0; to go without, set model.image_negatives to null"
            )
        self.detach = detach
        self.normalize = normalize
        self.scale = scale

    def make(self, features: Features) -> tuple[Tensor, Tensor]:
        """``(B, K, D)`` perturbed images, valid where the hard negative caption is."""
        step = features.negative_text - features.text.unsqueeze(1)
        moved = features.image.unsqueeze(1) + self.scale * (step.detach() if self.detach else step)
        return (functional.normalize(moved, dim=-1) if self.normalize else moved), features.negative_text_mask
