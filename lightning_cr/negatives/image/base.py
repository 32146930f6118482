"""The door of negative images that are made of features: no pixels, so no second pass through the image tower."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import torch
from torch import Tensor, nn

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError

__all__ = ["FeatureNegatives"]


class FeatureNegatives(nn.Module, ABC):
    """Fills ``negative_image`` of this rank's features, before :meth:`lightning_cr.batch.Features.gather`."""

    def forward(self, features: Features) -> Features:
        """Gives the same features with ``negative_image`` ``(B, J, D)`` and its mask filled.

        Raises:
            ConfigError: The batch already brings negative images as pixels, which would be thrown away in silence.
        """
        if features.negative_image.shape[1] > 0:
            raise ConfigError(
                f"{type(self).__name__} makes negative images of features, but the batch already brings "
                f"{features.negative_image.shape[1]} a sample as pixels; set model.image_negatives to null, "
                "or take them out of the data"
            )
        if features.gathered is not None:  # a bug of the caller, no user's mistake
            raise ValueError(
                f"{type(self).__name__} must run before Features.gather(): other ranks would miss its rows"
            )
        vectors, mask = self.make(features)
        return replace(
            features,
            negative_image=torch.where(mask.unsqueeze(-1), vectors, torch.zeros_like(vectors)),
            negative_image_mask=mask,
        )

    @abstractmethod
    def make(self, features: Features) -> tuple[Tensor, Tensor]:
        """Makes the vectors.

        Args:
            features: Of this rank alone.

        Returns:
            ``(B, J, D)`` vectors and the mask ``(B, J)``; what stands in empty slots is set to zero afterwards.
        """
