"""Two pictures with two captions: Winoground (2204.03162), and others of its form (EqBen, VisMin ...)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from lightning_cr.benchmarks.base import Judged, Similarity
from lightning_cr.benchmarks.choice import Example, FromFiles
from lightning_cr.benchmarks.pairs import winoground
from lightning_cr.images import ImageTree

__all__ = ["ImagePairs"]


class ImagePairs(FromFiles):
    """Text, image and group score, and GroupMatch, of pairs in JSON lines.

    A line has ``caption_0`` and ``caption_1``, ``image_0`` and ``image_1`` (paths; a name without an ending is looked
    for as ``.png`` and ``.jpg``), and an ``id``; the rest is ignored. Winoground's ``examples.jsonl`` has this form:
    its pictures, ``images/ex_N_img_0.png``, may be had from its own page only.

    Args:
        annotations: The file.
        name: Of the scores.
        images: See :class:`FromFiles`.
        allow_missing: See :class:`FromFiles`.
        per_subset: See :class:`FromFiles`.
    """

    get_annotations = "fetch examples.jsonl and images from https://huggingface.co/datasets/facebook/winoground"
    get_images = get_annotations
    blind = ""

    def __init__(
        self,
        annotations: str,
        name: str = "winoground",
        images: str | None = None,
        allow_missing: int = 0,
        per_subset: int = 0,
    ) -> None:
        super().__init__(annotations, images, allow_missing, per_subset)
        self.name = name
        self.headline = f"{name}/group"

    def examples(self, annotations: Path) -> Iterator[Example]:
        """See :class:`FromFiles`."""
        self.listed = 0
        for row in self.lines_of(annotations):
            self.listed += 1
            images = row.get("image_0", str), row.get("image_1", str)
            captions = row.get("caption_0", str), row.get("caption_1", str)
            yield Example(self.name, str(row.entry.get("id", row.name)), images, captions)

    def place(self, tree: ImageTree, image: str | int) -> str | None:
        """See :class:`FromFiles`."""
        names = [str(image), *(f"{folder}{image}{end}" for folder in ("", "images/") for end in (".png", ".jpg"))]
        return next((found for name in names if (found := super(ImagePairs, self).place(tree, name))), None)

    def judge(self, similarity: Similarity) -> Judged:
        """The four scores of each pair."""
        items = torch.tensor([[*row.pictures, *row.true] for row in self.rows]).T
        margins = {f"{self.name}/{part}": margin for part, margin in winoground(similarity, *items).items()}
        ids = [row.example.id for row in self.rows]
        return Judged.of(margins, dict.fromkeys(margins, self._connected()), dict.fromkeys(margins, ids))

    def _connected(self) -> torch.Tensor:
        """``(N,)``: pairs that share a picture, or are linked by others that do, have one number."""
        root: dict[int, int] = {}

        def find(picture: int) -> int:
            while root.setdefault(picture, picture) != picture:
                picture = root[picture]
            return picture

        for row in self.rows:
            one, other = (find(picture) for picture in row.pictures)
            root[max(one, other)] = min(one, other)
        return torch.tensor([find(row.pictures[0]) for row in self.rows])
