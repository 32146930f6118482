"""What can be had without the picture: a benchmark that the shorter caption solves says little of a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_cr.benchmarks.base import Similarity

__all__ = ["ShorterCaption"]


class ShorterCaption(Similarity):
    """Prefers the caption of fewer characters, whatever the picture.

    SugarCrepe's added objects and attributes are told this way in 99% (counted on its files).

    Args:
        captions: Of the benchmark.
    """

    def __init__(self, captions: Sequence[str]) -> None:
        self.lengths = torch.tensor([float(len(text)) for text in captions])

    def between(self, pictures: Tensor, captions: Tensor) -> Tensor:
        """See :class:`Similarity`."""
        return -self.lengths[captions].expand((pictures + captions).shape)
