"""Retrieval on the held-out split: R@K from picture to caption and back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lightning_cr.benchmarks.base import Benchmark, Pictures, Score
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import DataError

__all__ = ["HeldOutRetrieval", "places", "recall"]

BLOCK = 2**22  # similarities held at once, 16 MB: of bigger blocks the counts are slower, of smaller the products


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
        """``retrieval/i2t_r@K`` and ``retrieval/t2i_r@K``; unreadable pictures and their captions are left out.

        Raises:
            DataError: No picture is left.
        """
        read = ~image.isnan().any(1)
        if not read.any():
            raise DataError(
                f"retrieval has nothing to score: none of the {self.pictures} held-out pictures could be read, or the"
                " encoder returns NaN for all; mend the files, or take the benchmark out of data.benchmarks"
            )
        kept = read[self.owner]
        picture = (read.cumsum(0) - 1)[self.owner[kept]]
        caption = torch.arange(len(picture))
        image, text = image[read], text[kept]
        found = {
            "i2t": _places_in_blocks(image, text, picture, caption),
            "t2i": _places_in_blocks(text, image, caption, picture),
        }
        return {f"retrieval/{name}_r@{k}": _share(*place, k) for name, place in found.items() for k in self.ks}


def recall(similarity: Tensor, match: Tensor, k: int) -> Score:
    """R@K: share of rows with a match among the K most similar columns.

    Args:
        similarity: ``(N, M)``.
        match: ``(N, M)`` bool.
        k: How many columns are looked at.

    >>> recall(torch.tensor([[0.9, 0.1], [0.9, 0.1]]), torch.eye(2, dtype=torch.bool), 1)
    Score(value=0.5, n=2, ties=0)
    """
    return _share(*places(similarity, *match.nonzero(as_tuple=True)), k)


def places(similarity: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
    """Where the best true column of each row stands among the false ones.

    Args:
        similarity: ``(N, M)``.
        row: ``(T,)``, of each true pair.
        column: ``(T,)``, of each true pair.

    Returns:
        ``(N,)`` how many false columns stand before it, the level ones among them; ``(N,)`` whether one is level.

    >>> places(torch.tensor([[0.9, 0.1, 0.9]]), torch.tensor([0]), torch.tensor([2]))
    (tensor([1]), tensor([True]))
    """
    true = similarity[row, column]
    best = similarity.new_full((len(similarity),), -torch.inf).scatter_reduce(0, row, true, "amax")
    true_at_best = torch.zeros_like(best, dtype=torch.long).index_add(0, row, (true == best[row]).long())
    below = (similarity < best[:, None]).sum(1)  # and not "above": NaN is neither, and must not be a hit
    before = similarity.shape[1] - below - true_at_best
    return before, (similarity == best[:, None]).sum(1) > true_at_best


def _places_in_blocks(query: Tensor, item: Tensor, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`places` of all queries among all items; COCO's similarities would fill 33 GB at once."""
    size = max(1, BLOCK // len(item))
    parts = []
    for start in range(0, len(query), size):
        here = (row >= start) & (row < start + size)
        parts.append(places(query[start : start + size] @ item.T, row[here] - start, column[here]))
    before, level = zip(*parts, strict=True)
    return torch.cat(before), torch.cat(level)


def _share(before: Tensor, level: Tensor, k: int) -> Score:
    return Score(float((before < k).double().mean()), len(before), int(level.sum()))
