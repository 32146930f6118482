"""Pictures of a wrong caption: made of features here, of pixels elsewhere."""

from lightning_cr.negatives.image.base import FeatureNegatives
from lightning_cr.negatives.image.perturbation import VisualPerturbation

__all__ = ["FeatureNegatives", "VisualPerturbation"]
