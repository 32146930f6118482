"""VL-CheckList (Zhao et al. 2022, 2207.00221): objects, attributes and relations, as image-text contrast."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_cr.benchmarks.averages import Average, Mean
from lightning_cr.benchmarks.choice import Choice, Example
from lightning_cr.errors import DataError

__all__ = ["VLCheckList"]

_SOURCES = {"vg": "vg", "vaw": "vg", "swig": "swig", "hake": "hake"}


class VLCheckList(Choice):
    """The true phrase must be nearer to the picture than the false one, file by file.

    Averages: ``mean of 9 types`` (five of attributes, location and size of objects, action and spatial of relations; of
    each its rows pooled: CE-CLIP's), and ``mean of 3 groups`` (of each its rows pooled). CE-CLIP's and vl_compo's own
    weights within a type or group are not known to us. Doubled white space, and that at the ends, is taken out of the
    phrases. Rows whose two phrases are the same (122 are known) are ties.

    Args:
        annotations: The folder ``data`` with ``Attribute/``, ``Object/`` and ``Relation/``.
        per_subset: Rows of each file, the first that have a picture; the released configuration (``MAX_NUM: 2000``)
            takes 1,000. 0 takes all.
        images: The folder with ``vg/``, ``swig/`` and ``hake/``; ``--data.root`` unless given.
        allow_missing: Pictures that may be missing.

    Raises:
        ConfigError: A number below 0.
    """

    headline = "vl_checklist/mean of 9 types"
    prints_subsets = False
    get_annotations = "fetch data/ from https://github.com/om-ai-lab/VL-CheckList"
    get_images = "fetch them as DATASETS.md of https://github.com/om-ai-lab/VL-CheckList says"

    def __init__(
        self, annotations: str, per_subset: int = 1000, images: str | None = None, allow_missing: int = 0
    ) -> None:
        super().__init__(annotations, images, allow_missing, per_subset)

    def examples(self, annotations: Path) -> Iterator[Example]:
        """See :class:`FromFiles`."""
        files = sorted(annotations.rglob("*.json"))
        if not files:
            raise DataError(f"there are no files *.json below {annotations}; {self.get_annotations}")
        self.listed = 0
        types: dict[str, dict[str, None]] = {}
        for path in files:
            parts = path.relative_to(annotations).with_suffix("").parts
            subset = "/".join(("vl_checklist", *parts))
            source = next((_SOURCES[s] for part in parts for s in part.split("_") if s in _SOURCES), "")
            if parts[0] not in ("Attribute", "Object", "Relation") or len(parts) < 2 or not source:
                raise DataError(f"{path} is not named as in VL-CheckList's data/; {self.get_annotations}")
            kind = parts[1] if parts[0] == "Object" else parts[-1].rpartition("_")[2]
            for number, row in enumerate(_rows(path, self.json_of(path), self.get_annotations)):
                self.listed += 1
                image, true, false = row
                types.setdefault(f"{parts[0]}/{kind}", {})[subset] = None
                yield Example(subset, str(number), (f"{source}/{image}",), (true,), (false,))
        groups: dict[str, list[str]] = {}
        for name, subsets in types.items():
            groups.setdefault(name.partition("/")[0], []).extend(subsets)
        pooled: dict[str, Average] = {f"vl_checklist/{name}": tuple(subsets) for name, subsets in types.items()}
        self.averages = pooled | {
            f"vl_checklist/mean of {len(types)} types": Mean(tuple(pooled.values())),
            f"vl_checklist/mean of {len(groups)} groups": Mean(tuple(tuple(found) for found in groups.values())),
        }
        self.headline = f"vl_checklist/mean of {len(types)} types"


def _rows(path: Path, data: Any, get: str) -> Iterator[tuple[str, str, str]]:
    """Picture, the first true phrase, the first false one; a file may be empty."""
    if not isinstance(data, list):
        raise DataError(f"{path} holds a {type(data).__name__}, expected is a list; {get}")
    for number, row in enumerate(data):
        try:
            image, phrases = row
            true, false = phrases["POS"][0], phrases["NEG"][0]
            fits = all(isinstance(text, str) for text in (image, true, false))
        except (TypeError, ValueError, KeyError, IndexError):
            fits = False
        if not fits:
            raise DataError(
                f"{path}: row {number} is {str(row)[:80]!r}, expected is [picture, {{'POS': [text], 'NEG':"
                f" [text]}}]; {get}"
            )
        yield image, " ".join(true.split()), " ".join(false.split())
