"""Zero-shot classification: the class whose name, in sentences, is nearest to the picture."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_cr.benchmarks.annotations import Files, read_json
from lightning_cr.benchmarks.averages import Interpolation
from lightning_cr.benchmarks.base import Judged, Pictures, Similarity
from lightning_cr.benchmarks.decisions import Decisions, vectors
from lightning_cr.benchmarks.labelled import Labelled, below
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError, suggest

__all__ = ["ZeroShot"]

log = logging.getLogger(__name__)

_GET = "fetch en_classnames.json and en_zeroshot_classification_templates.json of LAION-AI/CLIP_benchmark"


class ZeroShot(Decisions):
    """Zero-shot classification as CLIP does it (Radford et al. 2021, 2103.00020).

    The prototype of a class is the mean of the unit vectors of its templates, brought back to length 1; the decision
    value is its cosine with the picture, in fp32. Scores are those of :class:`Decisions` and, of five classes or more,
    ``NAME/top-5``: the class is among the five with the highest values.

    A class as near as the true one is a tie, and counts as wrong (``ties: half`` counts a half). CLIP_benchmark takes
    ties as they come: ``topk`` for top-1 and top-5, whose order of equal values is not defined, and the first class
    for the recall.

    Of several labels a picture, CLIP_benchmark defines no threshold, and average precision needs none. For the margin
    of an example (see :class:`Judged`) it is the cosine less a threshold of the class: halfway between two cosines,
    with as many pictures above as have the label. No score depends on it.

    Args:
        data: The labelled pictures; the part ``test`` is measured.
        name: Of the scores.
        templates: Sentences with ``{c}`` where the class goes, or a JSON file of them in CLIP_benchmark's form: a list
            for each data set.
        classes: What the classes are called in the sentences, in the order of ``data``'s classes, or such a JSON file;
            unless given their own names, with blanks for underscores.
        key: The data set in these files, such as ``imagenet1k``.
        interpolation: Of average precision, for several labels.

    Raises:
        ConfigError: A template without ``{c}``, or none at all.
    """

    def __init__(
        self,
        data: Labelled,
        name: str = "zero-shot",
        templates: list[str] | str = ["a photo of a {c}."],  # noqa: B006 (read only)
        classes: list[str] | str | None = None,
        key: str = "",
        interpolation: Interpolation = "none",
    ) -> None:
        super().__init__(data, name, interpolation)
        self.templates, self.classes, self.key = templates, classes, key
        if not isinstance(templates, str):
            _check(templates, "templates")

    def open(self, root: Path | None, preprocess: Preprocess, held_out: Pictures) -> None:
        """Finds the pictures, and writes the sentences.

        Raises:
            ConfigError: The data has no such part, or a file of names or templates has no such data set.
            DataError: Something is missing, or there are not as many names as classes.
        """
        super().open(root, preprocess, held_out)
        templates = self._listed(self.templates, root)
        _check(templates, str(self.templates))
        names = self._listed(self.classes or [name.replace("_", " ") for name in self.data.classes], root)
        if len(names) != len(self.data.classes):
            raise DataError(
                f"{self.name}: there are {len(names)} names for {len(self.data.classes)} classes"
                f" ({', '.join(self.data.classes[:3])}, ...); give init_args.classes one for each, in their order"
            )
        place: dict[str, int] = {}
        self._sentences = torch.tensor(
            [[place.setdefault(template.replace("{c}", name), len(place)) for template in templates] for name in names]
        )
        self.captions = list(place)
        alike: dict[tuple[int, ...], list[str]] = {}
        for name, row in zip(self.data.classes, self._sentences.tolist(), strict=True):
            alike.setdefault(tuple(row), []).append(name)
        if same := [", ".join(group) for group in alike.values() if len(group) > 1]:
            log.warning(
                "%s: classes with the same sentences are never told apart: %s; give init_args.classes a name for each",
                *(self.name, "; ".join(same[:5])),
            )

    def judge(self, similarity: Similarity) -> Judged:
        """See the class."""
        image, text = vectors(similarity, self.name)
        prototypes = normalize(text[self._sentences].mean(1), dim=1)
        rows = self.rows["test"]
        if not self.data.multi_label:
            return self.judged(rows, lambda places: image[places] @ prototypes.T, top_5=True)
        cosines = image[rows.picture] @ prototypes.T
        return self.judged(rows, lambda places: cosines.double() - _thresholds(cosines, rows.labels))

    def _listed(self, given: list[str] | str, root: Path | None) -> list[str]:
        if not isinstance(given, str):
            return given
        path = below(root, given, self.name)
        read: Files = {}
        found = read_json(path, _GET, read)
        self.files[path.name] = read[path]
        known = found if isinstance(found, dict) else {}
        if self.key not in known:
            raise ConfigError(
                f"{path} has no data set '{self.key}'.{suggest(self.key, known)} It has {', '.join(known) or 'none'};"
                " set init_args.key"
            )
        listed = known[self.key]
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            raise DataError(f"{path}: '{self.key}' is no list of texts; {_GET}")
        return listed


def _check(templates: list[str], where: str) -> None:
    for template in templates:
        if "{c}" not in template:
            raise ConfigError(f"{where} has '{template}', in which no class can be put; write {{c}} where it goes")
    if not templates:
        raise ConfigError(f"{where} is empty; give one sentence or more, such as 'a photo of a {{c}}.'")


def _thresholds(cosines: Tensor, labels: Tensor) -> Tensor:
    """``(K,)`` float64: so many are above as have the label, of those that are read and counted."""
    found = []
    for column, label in zip(cosines.double().T, labels.T, strict=True):
        counted = ~column.isnan() & (label >= 0)
        falling = column[counted].sort(descending=True).values
        positive = int((label[counted] == 1).sum())
        beside = falling[max(0, positive - 1) : positive + 1]
        found.append(beside.mean())  # NaN where nothing is counted
    return torch.stack(found)
