"""Retrieval on a file of pictures and captions: Karpathy's test split of COCO, and Flickr30k's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from lightning_cr.benchmarks.base import Judged, Pictures, Similarity
from lightning_cr.benchmarks.choice import Example, FromFiles
from lightning_cr.benchmarks.retrieval import check_ks, retrieval
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError

__all__ = ["CaptionRetrieval"]


class CaptionRetrieval(FromFiles):
    """R@1, R@5 and R@10 both ways among all pictures and captions of a file.

    A caption that two pictures have is two texts, one of each, and a tie between them is counted. Papers use all of
    COCO's 25,010 texts or the first five of each picture (25,000).

    Args:
        annotations: JSON list of ``{"image", "caption": [...]}``, as ARO's repository has for both sets.
        name: Of the scores, such as ``coco`` or ``flickr30k``.
        captions_each: Of each picture the first so many; 0 takes all.
        ks: The K of R@K.
        images: See :class:`FromFiles`.
        allow_missing: See :class:`FromFiles`.

    Raises:
        ConfigError: A number out of range.
    """

    blind = ""
    get_annotations = "fetch it as https://github.com/mertyg/vision-language-models-are-bows says"

    def __init__(
        self,
        annotations: str,
        name: str = "coco",
        captions_each: int = 0,
        ks: list[int] | None = None,
        images: str | None = None,
        allow_missing: int = 0,
    ) -> None:
        if captions_each < 0:
            raise ConfigError(f"captions_each is {captions_each}; it must be 0 (all) or more")
        super().__init__(annotations, images, allow_missing)
        self.name, self.captions_each, self.ks = name, captions_each, check_ks(ks)
        self.headline = f"{name}/i2t_r@{self.ks[0]}"

    def examples(self, annotations: Path) -> Iterator[Example]:
        """See :class:`FromFiles`."""
        self.listed = 0
        for row in self.rows_of(annotations):
            captions = row.get("caption", list[Any])
            if not captions or not all(isinstance(text, str) for text in captions):
                raise row.wrong("has no list of texts as 'caption'")
            self.listed += len(captions)
            yield Example(
                self.name, str(row.name), (row.get("image", str),), tuple(captions[: self.captions_each or None])
            )

    def open(self, root: Path | None, preprocess: Preprocess, held_out: Pictures) -> None:
        """See :class:`FromFiles`."""
        super().open(root, preprocess, held_out)
        self.used = sum(len(row.true) for row in self.rows)

    def judge(self, similarity: Similarity) -> Judged:
        """Both ways."""
        pairs = torch.tensor([[row.pictures[0], caption] for row in self.rows for caption in row.true])
        ids = {row.pictures[0]: row.example.id for row in self.rows}
        return retrieval(
            similarity, pairs[:, 0], pairs[:, 1], self.ks, self.name, [ids[i] for i in range(len(self.pictures))]
        )
