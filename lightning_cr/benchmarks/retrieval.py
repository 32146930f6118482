"""Retrieval on the held-out split: R@K from picture to caption and back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lightning_cr.benchmarks.base import Benchmark, Pictures, Score
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import DataError

__all__ = ["HeldOutRetrieval", "recall"]


class HeldOutRetrieval(Benchmark):
    """R@1, R@5 and R@10 on the held-out pictures and all their captions.

    A picture is found if any of its captions is among the K nearest; a caption if its picture is. A false item as near
    as the best true one stands before it (ties are wrong).

    Args:
        ks: The K of R@K.
    """

    def __init__(self, ks: list[int] | None = None) -> None:
        self.ks = ks or [1, 5, 10]
        self.headline = f"retrieval/i2t_r@{self.ks[0]}"

    def open(self, root: Path | None, preprocess: Preprocess, held_out: Pictures) -> None:
        """Lists the pictures and captions of the held-out split.

        Raises:
            DataError: The source has no held-out split.
        """
        if held_out.pictures == 0:
            raise DataError(
                "retrieval needs held-out pictures, and the source has none; add captions_val20XX.json to the"
                " annotations, or take the benchmark out of data.benchmarks"
            )
        self._held_out = held_out
        self.pictures = held_out.pictures
        owned = [(index, text) for index in range(self.pictures) for text in held_out.captions(index)]
        self.captions = [text for _, text in owned]
        self.owner = torch.tensor([index for index, _ in owned])

    def picture(self, index: int) -> Tensor:
        """One held-out picture."""
        return self._held_out.picture(index)

    def score(self, image: Tensor, text: Tensor) -> dict[str, Score]:
        """``retrieval/i2t_r@K`` and ``retrieval/t2i_r@K``; unreadable pictures and their captions are left out."""
        read = ~image.isnan().any(1)
        similarity = image[read] @ text[read[self.owner]].T
        match = self.owner[read[self.owner]][None, :] == torch.arange(len(image))[read][:, None]
        scores = {}
        for name, sim, true in (("i2t", similarity, match), ("t2i", similarity.T, match.T)):
            for k in self.ks:
                scores[f"retrieval/{name}_r@{k}"] = recall(sim, true, k)
        return scores


def recall(similarity: Tensor, match: Tensor, k: int) -> Score:
    """R@K: share of rows with a match among the K most similar columns.

    Args:
        similarity: ``(N, M)``.
        match: ``(N, M)`` bool.
        k: How many columns are looked at.

    >>> recall(torch.tensor([[0.9, 0.1], [0.9, 0.1]]), torch.eye(2, dtype=torch.bool), 1)
    Score(value=0.5, n=2, ties=0)
    """
    best = similarity.masked_fill(~match, -torch.inf).amax(1, keepdim=True)
    before = (similarity > best).sum(1)
    level = ((similarity == best) & ~match).sum(1)
    return Score(float((before + level < k).double().mean()), len(similarity), int((level > 0).sum()))
