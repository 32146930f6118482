"""What can be had without the picture: a benchmark that the shorter or likelier caption solves says little."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_cr.benchmarks.base import Similarity

__all__ = ["OfCaptions", "ShorterCaption"]


class OfCaptions(Similarity):
    """One number of each caption, whatever the picture.

    Args:
        values: ``(captions,)``; the highest is preferred.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def between(self, pictures: Tensor, captions: Tensor) -> Tensor:
        """See :class:`Similarity`."""
        return self.values[captions].expand((pictures + captions).shape)


class ShorterCaption(OfCaptions):
    """Prefers the caption of fewer characters, whatever the picture.

    SugarCrepe's added objects and attributes are told this way in 99% (counted on its files).

    Args:
        captions: Of the benchmark.
    """

    def __init__(self, captions: Sequence[str]) -> None:
        super().__init__(torch.tensor([-float(len(text)) for text in captions]))
