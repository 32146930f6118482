"""VALSE (Parcalabescu et al. 2022, 2112.07566): captions and foils of eleven pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_cr.benchmarks.averages import Average, Mean
from lightning_cr.benchmarks.choice import Choice, Example
from lightning_cr.images import ImageTree

__all__ = ["Valse"]

_PHENOMENA = {
    "existence": ("existence",),
    "plurals": ("plurals",),
    "counting": ("counting-hard", "counting-small-quant", "counting-adversarial"),
    "relations": ("relations",),
    "actions": ("action-replacement", "actant-swap"),
    "coreference": ("coreference-standard", "coreference-hard"),
    "foil-it": ("foil-it",),
}
PIECES = tuple(piece for pieces in _PHENOMENA.values() for piece in pieces)
_AVERAGES: dict[str, Average] = {
    "valse/mean of 11": Mean(tuple((f"valse/{piece}",) for piece in PIECES)),
    "valse/mean of 7": Mean(
        tuple(Mean(tuple((f"valse/{piece}",) for piece in pieces)) for pieces in _PHENOMENA.values())
    ),
    "valse/micro": tuple(f"valse/{piece}" for piece in PIECES),
}
_VISUAL7W = re.compile(r"v7w_(\d+)\.jpg")


class Valse(Choice):
    """The caption must be nearer to the picture than its foil (the paper's ``acc_r``): 7,702 valid rows of 8,782.

    A row is valid where two of three annotators or more chose the caption (``mturk.caption`` of 2 or 3). Averages:
    ``mean of 11`` pieces (CE-CLIP's), ``mean of 7`` phenomena, each the mean of its pieces (vl_compo's), ``micro``.
    Pictures are of COCO, Visual7W (``v7w_N.jpg``, or Visual Genome's ``VG_100K{,_2}/N.jpg``, whose sizes may differ),
    SWiG and VisDial: below ``images`` or in one of its folders ``v7w``, ``visual7w``, ``swig``, ``images_512`` (SWiG's
    own), ``visdial``, ``VisualDialog_val2018``, and COCO's.

    Args: See :class:`FromFiles`; ``annotations`` is the folder with ``existence.json`` and the others.
    """

    get_annotations = "fetch data/*.json from https://github.com/Heidelberg-NLP/VALSE"
    get_images = "fetch COCO, Visual7W, SWiG and VisDial as VALSE's README says"
    headline = "valse/mean of 11"
    averages = _AVERAGES

    def examples(self, annotations: Path) -> Iterator[Example]:
        """See :class:`FromFiles`. The same id may be in two files."""
        self.listed = 0
        for piece in PIECES:
            for row in self.rows_of(annotations / f"{piece}.json"):
                self.listed += 1
                votes = row.get("mturk", dict[str, Any]).get("caption", 0)
                if isinstance(votes, (int, float)) and votes >= 2:
                    image, true, foil = (row.get(key, str) for key in ("image_file", "caption", "foil"))
                    yield Example(f"valse/{piece}", str(row.name), (image,), (true,), (foil,))

    def place(self, tree: ImageTree, image: str | int) -> str | None:
        """See :class:`FromFiles`; Visual7W's pictures are Visual Genome's."""
        for folder in ("", "v7w", "visual7w", "swig", "images_512", "visdial", "VisualDialog_val2018"):
            found = tree.find(f"{folder}/{image}" if folder else image)
            if found is not None:
                return found
        number = _VISUAL7W.fullmatch(str(image))
        folders = ("VG_100K", "VG_100K_2", "vg/VG_100K", "vg/VG_100K_2") if number else ()
        return next((found for f in folders if number and (found := tree.find(f"{f}/{number[1]}.jpg"))), None)
