"""SugarCrepe (Hsieh et al. 2023, 2306.14610) and SugarCrepe++ (Dumpala et al. 2024, 2406.11171)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from lightning_cr.benchmarks.averages import Average, Mean
from lightning_cr.benchmarks.base import Judged, Similarity
from lightning_cr.benchmarks.choice import Choice, Example, FromFiles

__all__ = ["SugarCrepe", "SugarCrepePP"]

SEVEN = ("replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att", "add_obj", "add_att")
_GROUPS = (SEVEN[:3], SEVEN[3:5], SEVEN[5:])


_AVERAGES: dict[str, Average] = {
    "sugarcrepe/micro": tuple(f"sugarcrepe/{name}" for name in SEVEN),
    "sugarcrepe/mean of 7": Mean(tuple((f"sugarcrepe/{name}",) for name in SEVEN)),
    "sugarcrepe/mean of 3, pooled": Mean(tuple(tuple(f"sugarcrepe/{n}" for n in group) for group in _GROUPS)),
    "sugarcrepe/mean of 3, means": Mean(
        tuple(Mean(tuple((f"sugarcrepe/{name}",) for name in group)) for group in _GROUPS)
    ),
}
_AVERAGES_PP: dict[str, Average] = {
    f"sugarcrepe++/{way} {name}": average
    for way in ("itt", "tot")
    for name, average in (
        ("micro", tuple(f"sugarcrepe++/{way} {part}" for part in SEVEN[:5])),
        ("mean of 5", Mean(tuple((f"sugarcrepe++/{way} {part}",) for part in SEVEN[:5]))),
    )
}


class SugarCrepe(Choice):
    """Seven kinds of hard negative on pictures of COCO's val2017: 7,511 rows.

    Averages: ``micro`` over all rows (the authors), ``mean of 7``, ``mean of 3, pooled`` (rows of replace, swap and add
    pooled, then their mean: vl_compo), ``mean of 3, means`` (the mean of each group's kinds, then their mean: CE-CLIP's
    three columns). The same seven numbers of CLIP ViT-B/32 give 76.6, 73.1, 73.0 and 71.9.

    Args: See :class:`FromFiles`; ``annotations`` is the folder with ``add_att.json`` and the others.
    """

    get_annotations = "fetch data/*.json from https://github.com/RAIVNLab/sugar-crepe"
    headline = "sugarcrepe/mean of 7"
    averages = _AVERAGES

    def examples(self, annotations: Path) -> Iterator[Example]:
        """See :class:`FromFiles`. Keys of the files need not be contiguous: swap_obj lacks 108."""
        self.listed = 0
        for part in SEVEN:
            for row in self.rows_of(annotations / f"{part}.json"):
                self.listed += 1
                yield Example(
                    f"sugarcrepe/{part}",
                    str(row.name),
                    (row.get("filename", str),),
                    (row.get("caption", str),),
                    (row.get("negative_caption", str),),
                )


class SugarCrepePP(FromFiles):
    """Two true captions and a false one: 4,757 rows on COCO's val2017.

    ``itt``: both true captions must be nearer to the picture than the false one. ``tot``: both true captions must be
    nearer to each other than either is to the false one. Two rows of swap_obj (2 and 8) have a false caption that is
    the true one, and cannot be right (:attr:`contradictory`). A row with one margin above 0 and the other 0 is a tie,
    with one below 0 it is wrong (see :data:`Ties`). Averages: ``micro`` and ``mean of 5``, of each.

    Args: See :class:`FromFiles`; ``annotations`` is the folder with ``swap_obj.json`` and the others.
    """

    get_annotations = "fetch data/*.json from https://github.com/Sri-Harsha/scpp"
    headline = "sugarcrepe++/itt mean of 5"
    blind = "strict"
    averages = _AVERAGES_PP

    def examples(self, annotations: Path) -> Iterator[Example]:
        """See :class:`FromFiles`."""
        self.listed = 0
        for part in SEVEN[:5]:
            for row in self.rows_of(annotations / f"{part}.json"):
                self.listed += 1
                true = row.get("caption", str), row.get("caption2", str)
                yield Example(
                    part, str(row.name), (row.get("filename", str),), true, (row.get("negative_caption", str),)
                )

    def judge(self, similarity: Similarity) -> Judged:
        """The smaller of the two margins, both ways."""
        picture, one, other, false = torch.tensor([[row.pictures[0], *row.true, row.false[0]] for row in self.rows]).T
        to_false = similarity.between(picture, false)
        itt = torch.minimum(similarity.between(picture, one), similarity.between(picture, other)) - to_false
        apart = torch.maximum(similarity.among_captions(one, false), similarity.among_captions(other, false))
        tot = similarity.among_captions(one, other) - apart
        # The captions alone decide tot, but a row whose picture is missing is counted in neither.
        tot = torch.where(to_false.isnan(), torch.nan, tot)
        parts = [row.example.subset for row in self.rows]
        ids = [row.example.id for row in self.rows]
        margins, clusters, names = {}, {}, {}
        for way, margin in (("itt", itt), ("tot", tot)):
            for part in dict.fromkeys(parts):
                at = torch.tensor([number for number, found in enumerate(parts) if found == part])
                name = f"sugarcrepe++/{way} {part}"
                margins[name], clusters[name] = margin[at], self.file_of[picture[at]]
                names[name] = [ids[number] for number in at.tolist()]
        return Judged.of(margins, clusters, names)
