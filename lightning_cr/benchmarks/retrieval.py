"""Retrieval: R@K from picture to caption and back, on the held-out split or on Karpathy's test split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lightning_cr.benchmarks.base import Benchmark, Judged, Pictures, Similarity
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError

__all__ = ["HeldOutRetrieval", "Table", "check_ks", "recall_margins", "retrieval"]

BLOCK = 2**22  # similarities held at once, 16 MB: of bigger blocks the counts are slower, of smaller the products


Table = Callable[[Tensor], Tensor]
"""Similarities ``(n, M)`` of some queries, by their numbers, with all items."""


class HeldOutRetrieval(Benchmark):
    """R@1, R@5 and R@10 on the held-out pictures and all their captions.

    A picture is found if any of its captions is among the K nearest; a caption if its picture is. A false item as near
    as the best true one is a tie.

    Args:
        ks: The K of R@K.

    Attributes:
        owner: ``(T,)``, the picture of each text.
        caption: ``(T,)``, the caption of each text.

    Raises:
        ConfigError: A K below 1.
    """

    blind = ""

    def __init__(self, ks: list[int] | None = None) -> None:
        self.ks = check_ks(ks)
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
        self.pictures = [held_out.picture(index) for index in range(held_out.pictures)]
        owned = [(index, text) for index in range(held_out.pictures) for text in held_out.captions(index)]
        place: dict[str, int] = {}
        self.caption = torch.tensor([place.setdefault(text, len(place)) for _, text in owned])
        self.owner = torch.tensor([index for index, _ in owned])
        self.captions = list(place)
        self.listed = self.used = len(owned)

    def judge(self, similarity: Similarity) -> Judged:
        """``retrieval/i2t_r@K`` and ``retrieval/t2i_r@K``; unreadable pictures and their captions are left out."""
        return retrieval(similarity, self.owner, self.caption, self.ks)


def check_ks(ks: list[int] | None) -> list[int]:
    """The K of R@K, 1, 5 and 10 unless given.

    Raises:
        ConfigError: None at all, or one below 1.
    """
    found = [1, 5, 10] if ks is None else ks
    if not found or min(found) < 1:
        raise ConfigError(f"the ks of retrieval are {found}; each must be 1 or more, such as [1, 5, 10]")
    return found


def retrieval(
    similarity: Similarity,
    owner: Tensor,
    caption: Tensor,
    ks: list[int],
    name: str = "retrieval",
    ids: Sequence[str] | None = None,
) -> Judged:
    """R@K both ways.

    Args:
        similarity: Of pictures and captions.
        owner: ``(T,)``, the picture of each text.
        caption: ``(T,)``, the caption of each text; one that two pictures have is two texts.
        ks: The K.
        name: Of the scores.
        ids: Name of each picture; its number unless given.
    """
    seen: Counter[int] = Counter()
    numbers = []
    for picture in owner.tolist():
        numbers.append(seen[picture])
        seen[picture] += 1
    read = ~similarity.between(torch.arange(int(owner.max()) + 1), caption[:1]).isnan()
    kept = read[owner]
    numbers = [number for number, there in zip(numbers, kept.tolist(), strict=True) if there]
    owner, caption = owner[kept], caption[kept]
    shown, row = torch.unique(owner, return_inverse=True)
    texts = torch.arange(len(owner))
    margins = {
        "i2t": recall_margins(lambda rows: similarity.table(shown[rows], caption), len(shown), row, texts, ks),
        "t2i": recall_margins(lambda rows: similarity.table(shown, caption[rows]).T, len(texts), texts, row, ks),
    }
    subsets = [f"{name}/{way}_r@{k}" for way in margins for k in ks]
    cluster = torch.cat([which for which in (shown, owner) for _ in ks])
    names = [
        [ids[i] if ids else str(i) for i in shown.tolist()],
        [f"{ids[i] if ids else i}/{n}" for n, i in zip(numbers, owner.tolist(), strict=True)],
    ]
    sizes = torch.tensor([len(which) for which in (shown, owner) for _ in ks])
    return Judged(
        subsets=subsets,
        subset=torch.arange(len(subsets)).repeat_interleave(sizes),
        margin=torch.cat([margin for found in margins.values() for margin in found]),
        cluster=cluster,
        ids=[name for found in names for _ in ks for name in found],
    )


def recall_margins(table: Table, rows: int, row: Tensor, column: Tensor, ks: list[int]) -> list[Tensor]:
    """By how much the best true item of each query is above the K-th false one.

    Above 0 it is among the K nearest wherever ties are put; at 0 that depends on them.

    Args:
        table: The similarities.
        rows: Queries.
        row: ``(T,)``, query of each true pair.
        column: ``(T,)``, item of each true pair.
        ks: The K.

    Returns:
        ``(rows,)`` for each K; infinite where there are fewer than K false items.
    """
    most = max(ks)
    parts: list[list[Tensor]] = [[] for _ in ks]
    order = row.argsort(stable=True)
    row, column = row[order], column[order]
    size = max(1, BLOCK // max(1, int(column.max()) + 1 if len(column) else 1))
    for start in range(0, rows, size):
        found = table(torch.arange(start, min(rows, start + size))).clone()
        first, last = torch.searchsorted(row, torch.tensor([start, start + size])).tolist()
        at = row[first:last] - start
        true = found[at, column[first:last]]
        best = found.new_full((len(found),), -torch.inf).scatter_reduce(0, at, true, "amax")
        found[at, column[first:last]] = -torch.inf
        false = found.topk(min(most, found.shape[1]), dim=1).values
        false = torch.nn.functional.pad(false, (0, most - false.shape[1]), value=-torch.inf)
        for part, k in zip(parts, ks, strict=True):
            part.append(best - false[:, k - 1])
    return [torch.cat(part) if part else torch.zeros(0) for part in parts]
