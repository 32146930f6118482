"""The door of a benchmark: it lists pictures and captions, and says by how much each example is right."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from lightning_cr.benchmarks.averages import Average, Tally, bootstrapped
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError

__all__ = [
    "Benchmark",
    "Embedded",
    "Judged",
    "Measurement",
    "Picture",
    "Pictures",
    "Score",
    "Scoring",
    "Similarity",
    "Ties",
]

Ties = Literal["official", "strict", "half"]
"""What an example counts whose true and false similarity are equal: as in the benchmark's own code, 0, or a half.

Where several comparisons must be right at once (Winoground, SugarCrepe++, five captions), a wrong one makes the example
wrong whatever the others are; if none is wrong and any is level, it is a tie, and its half is not halved again for each
comparison that is level. So a model to which all is level scores 0.5, where guessing would give a quarter of two.
"""

_PAIRS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Scoring:
    """How a test counts.

    Attributes:
        ties: What an example counts whose true and false similarity are equal: ``official`` as in the benchmark's own
            code, ``strict`` nothing, ``half`` a half.
        resamples: Of the pictures, for 95% intervals; 0 leaves them out.
        seed: Of the resamples.
        likelihood: A causal language model (a folder, or a name on the hub that is in the cache) for a further blind
            column: what its likelier caption gets, whatever the picture. None where empty.
        likelihood_per: ``token`` compares mean log probabilities of a token, ``caption`` those of whole captions, which
            prefer the shorter caption as the column beside it does.
    """

    ties: Ties = "official"
    resamples: int = 1000
    seed: int = 0
    likelihood: str = ""
    likelihood_per: Literal["token", "caption"] = "token"

    def __post_init__(self) -> None:
        if self.resamples < 0:
            raise ConfigError(f"data.scoring.resamples is {self.resamples}; it must be 0 (no intervals) or more")


@dataclass(frozen=True)
class Score:
    """One figure of a benchmark.

    Attributes:
        value: In 0..1.
        n: Examples it is a mean over.
        ties: Examples where true and false had exactly the same similarity.
        low: Lower end of the 95% interval; None where none was asked for.
        high: Upper end.
    """

    value: float
    n: int
    ties: int = 0
    low: float | None = None
    high: float | None = None


NO_INTERVALS = Scoring(resamples=0)


class Picture(Protocol):
    """One picture of a benchmark; equal ones are encoded once, whichever benchmarks have them."""

    def __hash__(self) -> int: ...

    def __eq__(self, other: object) -> bool: ...

    def pixels(self, preprocess: Preprocess) -> Tensor:
        """``(3, S, S)`` uint8.

        Raises:
            DataError: It cannot be read.
        """
        ...

    def content(self) -> bytes:
        """What decides the pixels beside the preprocessing, wherever the picture lies; nothing is decoded.

        Raises:
            DataError: It cannot be read.
        """
        ...


class Pictures(Protocol):
    """Held-out pictures with their captions, as a data source offers them."""

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        ...

    def picture(self, index: int) -> Picture:
        """One picture."""
        ...

    def captions(self, index: int) -> list[str]:
        """The captions of one picture."""
        ...


class Similarity(ABC):
    """How near pictures and captions are, by their places in a benchmark's lists; any scale, NaN for what is unread."""

    @abstractmethod
    def between(self, pictures: Tensor, captions: Tensor) -> Tensor:
        """``(...)`` fp32 of two index tensors that broadcast to one shape."""

    def table(self, pictures: Tensor, captions: Tensor) -> Tensor:
        """``(P, C)`` fp32 of each picture and each caption."""
        return self.between(pictures[:, None], captions[None, :])

    def among_captions(self, one: Tensor, other: Tensor) -> Tensor:
        """``(...)`` fp32 of captions and captions; NaN where it is not defined."""
        return torch.full((one + other).shape, torch.nan)


class Embedded(Similarity):
    """Cosines of unit vectors, in fp32.

    Args:
        image: ``(pictures, D)``; NaN where a picture could not be read.
        text: ``(captions, D)``.
    """

    def __init__(self, image: Tensor, text: Tensor) -> None:
        self.image, self.text = image.float(), text.float()

    def between(self, pictures: Tensor, captions: Tensor) -> Tensor:
        """See :class:`Similarity`."""
        return _cosines(self.image, self.text, pictures, captions)

    def table(self, pictures: Tensor, captions: Tensor) -> Tensor:
        """See :class:`Similarity`."""
        return self.image[pictures] @ self.text[captions].T

    def among_captions(self, one: Tensor, other: Tensor) -> Tensor:
        """See :class:`Similarity`."""
        return _cosines(self.text, self.text, one, other)


def _cosines(left: Tensor, right: Tensor, one: Tensor, other: Tensor) -> Tensor:
    shape = (one + other).shape
    parts = (torch.split(index.expand(shape).reshape(-1), _PAIRS_AT_ONCE) for index in (one, other))
    return torch.cat([(left[a] * right[b]).sum(-1) for a, b in zip(*parts, strict=True)]).reshape(shape)


@dataclass(frozen=True)
class Judged:
    """What a benchmark finds, example by example.

    Attributes:
        subsets: Names of its parts.
        subset: ``(N,)`` int64, the part of each example.
        margin: ``(N,)`` fp32; the example is right above 0 and a tie at 0: the smallest of the differences of a true
            and a false similarity that must all be positive. NaN where a picture is missing: not counted.
        cluster: ``(N,)`` int64; examples of one picture are resampled together.
        ids: ``(N,)`` names, unlike each other within a subset.
        truth: ``(N,)`` bool, of rows that say whether a picture has a label; None where rows are of another kind. The
            margin of such a row is its decision value where the picture has the label, else the negative of that: so it
            is right above 0 here too, and :attr:`value` gives average precision what it ranks.
    """

    subsets: Sequence[str]
    subset: Tensor
    margin: Tensor
    cluster: Tensor
    ids: Sequence[str]
    truth: Tensor | None = None

    @classmethod
    def of(
        cls,
        margins: Mapping[str, Tensor],
        clusters: Mapping[str, Tensor],
        ids: Mapping[str, Sequence[str]] | None = None,
    ) -> Judged:
        """From margins and clusters by subset; ids are numbers unless given."""
        sizes = torch.tensor([len(margin) for margin in margins.values()])
        return cls(
            subsets=list(margins),
            subset=torch.arange(len(margins)).repeat_interleave(sizes),
            margin=torch.cat(list(margins.values())),
            cluster=torch.cat([clusters[name] for name in margins]),
            ids=[f"{i}" for name in margins for i in (ids[name] if ids else range(len(margins[name])))],
        )

    def with_(self, other: Judged) -> Judged:
        """These and the examples of other subsets; none may have a label sign."""
        if self.truth is not None or other.truth is not None:
            raise ValueError("rows with a label sign stand alone")
        return Judged(
            [*self.subsets, *other.subsets],
            torch.cat([self.subset, other.subset + len(self.subsets)]),
            torch.cat([self.margin, other.margin]),
            torch.cat([self.cluster, other.cluster]),
            [*self.ids, *other.ids],
        )

    @property
    def value(self) -> Tensor | None:
        """``(N,)``, decision values of rows that have a label sign."""
        return None if self.truth is None else torch.where(self.truth, self.margin, -self.margin)

    def right(self, ties: Literal["right", "wrong", "half"]) -> Tensor:
        """``(N,)`` float64: 1, 0, or what a tie counts; NaN for what is not counted."""
        worth = {"right": 1.0, "wrong": 0.0, "half": 0.5}[ties]
        right = (self.margin > 0).double()
        right[self.margin == 0] = worth
        right[self.margin.isnan()] = torch.nan
        return right


class Benchmark(ABC):
    """A set of pictures and captions with a rule that says which similarities are right.

    Attributes:
        pictures: The distinct pictures.
        captions: The distinct captions.
        averages: What is printed beside the subsets, by name.
        headline: Name of the score that says it in one number; ``best.ckpt`` goes by the mean of these.
        reads_files: Whether loading is worth worker processes.
        official_ties: How the benchmark's own code counts a tie.
        listed: Rows of the annotation files; :attr:`used` says how many of them are left.
        used: Rows that are scored.
        chosen: What judging settled, such as a probe's regularisation; written beside the scores.
        prints_subsets: Whether the subsets are few enough to print beside the averages.
        blind: What a tie of a similarity that sees the captions alone counts; empty where that cannot be judged, or
            where several comparisons would have to be right by chance at once.
        blind_subsets: Where this makes sense; None for all.
    """

    pictures: Sequence[Picture] = ()
    captions: Sequence[str] = ()
    averages: Mapping[str, Average] = {}
    headline: str = ""
    reads_files: bool = True
    official_ties: ClassVar[Literal["right", "wrong"]] = "wrong"
    listed: int = 0
    used: int = 0
    chosen: Mapping[str, Any] = {}
    prints_subsets: bool = True
    blind: Literal["half", "strict", ""] = "half"
    blind_subsets: Collection[str] | None = None

    @abstractmethod
    def open(self, root: Path | None, preprocess: Preprocess, held_out: Pictures) -> None:
        """Finds the data.

        Args:
            root: ``--data.root``.
            preprocess: What the encoder wants of pixels.
            held_out: The held-out split of the data source.

        Raises:
            DataError: Something is missing or unreadable.
        """

    @abstractmethod
    def judge(self, similarity: Similarity) -> Judged:
        """Says of each example by how much it is right.

        Args:
            similarity: Of :attr:`pictures` and :attr:`captions`, by their places.

        Raises:
            DataError: No picture could be read.
        """

    def right(self, judged: Judged, ties: Ties) -> Tensor:
        """``(N,)`` float64, what each example counts; NaN for what is not counted."""
        return judged.right(self.official_ties if ties == "official" else "wrong" if ties == "strict" else "half")

    def score(self, judged: Judged, scoring: Scoring = NO_INTERVALS) -> dict[str, Score]:
        """Accuracy of each subset, then the averages; a mean that lacks a part is withheld.

        Args:
            judged: What :meth:`judge` found.
            scoring: What a tie counts, and the resamples of the pictures behind the intervals (percentiles).

        Raises:
            DataError: Nothing could be judged.
        """
        right = self.right(judged, scoring.ties)
        if bool(right.isnan().all()):
            raise DataError(
                f"{type(self).__name__} has nothing to score: none of its {len(self.pictures)} pictures could be read,"
                " or the encoder returns NaN for all; mend the files, or take the benchmark out of data.benchmarks"
            )
        tally = Tally.of(
            *(right, judged.margin == 0, judged.subset, judged.cluster),
            *(len(judged.subsets), judged.value, judged.truth),
        )
        wanted: dict[str, Average] = {name: (name,) for name in judged.subsets} | dict(self.averages)
        place = {name: at for at, name in enumerate(judged.subsets)}
        found = tally.values(wanted, place)
        there = {name: wanted[name] for name, (_, n, _) in found.items() if n}
        intervals = bootstrapped(tally, there, place, scoring.resamples, scoring.seed) if scoring.resamples else {}
        return {name: Score(*found[name], *intervals.get(name, (None, None))) for name in there}

    def shown(self, measurement: Measurement) -> list[str]:
        """The scores to print and to log: the subsets, unless they are too many, and the averages."""
        hidden = () if self.prints_subsets or not self.averages else frozenset(measurement.judged.subsets)
        return [name for name in measurement.scores if name not in hidden]


@dataclass(frozen=True)
class Measurement:
    """What a benchmark says of a model.

    Attributes:
        judged: Example by example.
        scores: By name.
        blind: What the shorter caption gets, where the benchmark can be judged without pictures.
        likelihood: What the likelier caption gets, likewise; empty unless a language model was asked for.
    """

    judged: Judged
    scores: Mapping[str, Score]
    blind: Mapping[str, Score]
    likelihood: Mapping[str, Score] = field(default_factory=dict)
