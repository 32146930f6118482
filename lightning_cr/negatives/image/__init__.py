"""Pictures of a wrong caption: made of features, or made beforehand and kept in a store."""

from lightning_cr.negatives.image.base import FeatureNegatives
from lightning_cr.negatives.image.perturbation import VisualPerturbation
from lightning_cr.negatives.image.store import Made, PictureStore

__all__ = ["FeatureNegatives", "Made", "PictureStore", "VisualPerturbation"]
