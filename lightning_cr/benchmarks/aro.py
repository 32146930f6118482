"""ARO (Yuksekgonul et al. 2023, 2210.01936): relations and attributes of Visual Genome, and the order of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_cr.benchmarks.annotations import Row
from lightning_cr.benchmarks.averages import Mean
from lightning_cr.benchmarks.choice import Choice, Example
from lightning_cr.errors import DataError

__all__ = ["AroAttribution", "AroOrder", "AroRelation"]

_BOX = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")


def _example(row: Row, subset: str) -> Example:
    left, top, width, height = (row.get(key, int) for key in _BOX)
    return Example(
        subset,
        str(row.name),
        (row.get("image_path", str),),
        (row.get("true_caption", str),),
        (row.get("false_caption", str),),
        (left, top, left + width, top + height),
    )


class _Crops(Choice):
    """Rows on a rectangle of a picture; there are too many subsets to print."""

    get_images = "fetch vgr_vga_images.zip, which https://github.com/mertyg/vision-language-models-are-bows links to"
    get_annotations = "fetch it as https://github.com/mertyg/vision-language-models-are-bows says"
    prints_subsets = False


class AroRelation(_Crops):
    """Which of two things does it to the other: "the horse is eating the grass".

    Averages: ``macro`` over relations without the symmetric ones ("next to"), as papers report; ``micro`` over the same
    rows; ``macro, all relations``, as the authors' ``main_aro.py`` prints.

    Args:
        annotations: ``visual_genome_relation.json``.
        symmetric: JSON list of the relations that are left out; the authors' notebook has 157 names.
        images: See :class:`FromFiles`.
        allow_missing: See :class:`FromFiles`.
        per_subset: See :class:`FromFiles`.
    """

    headline = "aro/relation macro"

    def __init__(
        self,
        annotations: str,
        symmetric: str,
        images: str | None = None,
        allow_missing: int = 0,
        per_subset: int = 0,
    ) -> None:
        super().__init__(annotations, images, allow_missing, per_subset)
        self.symmetric = symmetric

    def examples(self, annotations: Path) -> Iterator[Example]:
        """See :class:`FromFiles`."""
        path = annotations.parent / Path(self.symmetric).expanduser()
        names = self.json_of(path)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{path} is no list of relations; {self.get_annotations}")
        relations: Counter[str] = Counter()
        for row in self.rows_of(annotations):
            relation = row.get("relation_name", str)
            relations[relation] += 1
            yield _example(row, f"aro/relation/{relation}")
        self.listed = sum(relations.values())
        every = tuple((f"aro/relation/{name}",) for name in relations)
        kept = tuple((f"aro/relation/{name}",) for name in relations if name not in set(names))
        self.averages = {
            "aro/relation macro": Mean(kept, complete=False),
            "aro/relation micro": tuple(name for (name,) in kept),
            "aro/relation macro, all relations": Mean(every, complete=False),
        }


class AroAttribution(_Crops):
    """Which of two things has which quality: "the crouched cat and the open door".

    Averages: ``macro`` over pairs of attributes with 25 rows or more, as the authors report, and ``micro`` over all.

    Args: See :class:`FromFiles`; ``annotations`` is ``visual_genome_attribution.json``.
    """

    headline = "aro/attribution macro"
    least = 25

    def examples(self, annotations: Path) -> Iterator[Example]:
        """See :class:`FromFiles`."""
        pairs: Counter[str] = Counter()
        for row in self.rows_of(annotations):
            pair = "aro/attribution/" + "_".join(map(str, row.get("attributes", list[Any])))
            pairs[pair] += 1
            yield _example(row, pair)
        self.listed = sum(pairs.values())
        self.averages = {
            "aro/attribution macro": Mean(
                tuple((pair,) for pair, count in pairs.items() if count >= self.least), complete=False
            ),
            "aro/attribution micro": tuple(pairs),
        }


class AroOrder(Choice):
    """Which of five captions is not shuffled, on COCO's or Flickr30k's test split; a tie is right, as in ARO's code.

    By that rule a model that sees words and not their order has nearly all right: look at the ties, or take
    ``data.scoring.ties: strict``.

    The shuffles are read from a file that ``python -m lightning_cr order`` writes once, since those of the authors'
    code depend on the versions of two taggers. A shuffle that is the caption itself is a tie, and counted as
    :attr:`contradictory`; ``drop_identical`` leaves such captions out. A caption that has no other order (``null`` for
    all four) is left out.

    Args:
        annotations: ``{"about": {...}, "rows": [...]}`` or the rows alone: ``{"image", "caption", "shuffles": [...]}``.
        name: Of the scores, such as ``coco_order``.
        drop_identical: Whether captions that a shuffle gives back are left out.
        images: See :class:`FromFiles`.
        allow_missing: See :class:`FromFiles`.
        per_subset: See :class:`FromFiles`.
    """

    official_ties = "right"
    blind = "strict"
    get_annotations = (
        "write it, once: python -m lightning_cr order --captions coco_karpathy_test.json --out coco_order.json"
    )

    def __init__(
        self,
        annotations: str,
        name: str = "coco_order",
        drop_identical: bool = False,
        images: str | None = None,
        allow_missing: int = 0,
        per_subset: int = 0,
    ) -> None:
        super().__init__(annotations, images, allow_missing, per_subset)
        self.name, self.drop_identical = name, drop_identical
        self.headline = f"aro/{name}"

    def examples(self, annotations: Path) -> Iterator[Example]:
        """See :class:`FromFiles`."""
        self.listed = 0
        for row in self.rows_of(annotations):
            self.listed += 1
            caption, listed = row.get("caption", str), row.get("shuffles", list[Any])
            if not listed or not all(text is None or isinstance(text, str) for text in listed):
                raise row.wrong("has no list of texts as 'shuffles'")
            shuffles = tuple(text for text in listed if text is not None)
            number = row.entry.get("image")
            image = number if type(number) is int else row.get("image", str)
            if shuffles and not (self.drop_identical and caption in shuffles):
                yield Example(f"aro/{self.name}", str(row.name), (image,), (caption,), shuffles)
