"""The door of a data source: where pairs of image and caption come from."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lightning_cr.benchmarks.base import Picture
from lightning_cr.encoders.base import Preprocess
from lightning_cr.encoders.preprocess import Crop
from lightning_cr.negatives.text.base import AnnotatedCaption, Negative
from lightning_cr.scenes import Scene, Wording

__all__ = ["ImageNegatives", "Pair", "Sample", "Source", "Split", "picture_rng", "positive_rng", "sample_rng"]

Pair = tuple[Negative, Tensor | None]
"""A false caption and the picture that it is true of, ``(3, H, W)`` uint8, or None where there is no picture."""


@dataclass
class Sample:
    """One pair of image and caption, as a source gives it.

    Attributes:
        image: ``(3, H, W)`` uint8, resized and cropped as the encoder wants it.
        caption: The chosen caption.
        sample_id: Identifies the pair within the split.
        image_id: Identifies the image; equal for its other captions.
        annotated: The caption with part-of-speech tags, where the source knows them; else the tagger finds them.
        negatives: Slot name to a negative that the source itself makes, with the picture it is true of or None; a slot
            named here is not filled by a text rule.
        skipped: One line for each input that could not be read and was replaced.
        another: Draws another true caption of the image, worded differently, or None where it has no other; asked only
            where positive texts are wanted. None where the split has none (:attr:`Split.rewords`).
        crop: The rectangle of the picture that ``image`` shows, where it was drawn at random.
        graph: What the picture was rendered from and how its caption is worded, in the embedded world.
    """

    image: Tensor
    caption: str
    sample_id: int
    image_id: int
    annotated: AnnotatedCaption | None = None
    negatives: dict[str, Pair] | None = None
    skipped: tuple[str, ...] = ()
    another: Callable[[random.Random], str | None] | None = None
    crop: Crop | None = None
    graph: tuple[Scene, Wording] | None = None


class Split(ABC):
    """The samples of one split, by index; all that is random comes from the generator that is handed in."""

    @abstractmethod
    def __len__(self) -> int:
        """Samples in an epoch."""

    @abstractmethod
    def sample(self, index: int, rng: random.Random, epoch: int) -> Sample:
        """The sample at an index.

        Args:
            index: 0 <= index < len(self).
            rng: Seeded from (seed, epoch, index) alone, so that workers, ranks and a resume change nothing.
            epoch: Number of the epoch, from 0 (an infinite source draws other samples in each).
        """

    @property
    def texts(self) -> Sequence[str] | None:
        """All captions, by sample id, where they are a fixed list that can be annotated once; else None."""
        return None

    @property
    def image_ids(self) -> Sequence[int] | None:
        """Ids of the pictures, in the order of :meth:`picture`, where these are a fixed list; else None."""
        return None

    @property
    def crop_scale(self) -> tuple[float, float] | None:
        """Share of a picture's area that a random crop keeps, least and most; None where it does not crop at random."""
        return None

    @property
    def rewords(self) -> bool:
        """Whether any image has another true caption (:attr:`Sample.another`)."""
        return False

    def accepts(self, false_caption: str) -> bool:
        """Whether a text rule's negative may be trained on; all may, unless the source keeps something back."""
        return True

    @property
    @abstractmethod
    def pictures(self) -> int:
        """Number of distinct pictures, for evaluation."""

    @abstractmethod
    def picture(self, index: int) -> Picture:
        """One picture, for evaluation without augmentation; 0 <= index < pictures."""

    @abstractmethod
    def captions(self, index: int) -> list[str]:
        """All captions of one picture; 0 <= index < pictures."""


class Source(ABC):
    """Opens the splits of a data set."""

    kinds: tuple[str, ...] = ()
    """Names of the negatives that the source itself makes."""

    pictured: bool = True
    """Whether these come with the pictures that they are true of."""

    rated: bool = False
    """Whether negatives that it makes come with a concreteness; known once it is open."""

    lexicon: str = "coco"
    """Which lexicon fits its captions, where the configuration names none."""

    max_skipped: int = 0
    """Inputs that cannot be used and are counted before the run stops: bad entries and unreadable pictures together."""

    skipped: Sequence[str] = ()
    """One line for each bad entry that :meth:`open` left out."""

    no_training: str = ""
    """What :meth:`open` lacked for a training split, which is then empty; a fit stops with it, nothing else does."""

    @abstractmethod
    def open(self, root: Path | None, preprocess: Preprocess, seed: int) -> tuple[Split, Split]:
        """The training split and the held-out split.

        Args:
            root: ``--data.root``; None where none was given.
            preprocess: What the encoder wants of pixels.
            seed: Of the run.

        Raises:
            DataError: A folder or file is missing or unreadable; says what was looked for and how to get it. Where only
                training needs it, it is told in :attr:`no_training` instead.
        """


class ImageNegatives(ABC):
    """The door of negatives in pixels: given a sample, false captions of it with the pictures that they are true of.

    Feature-space perturbation is another door, :class:`lightning_cr.negatives.image.base.FeatureNegatives`: it makes no
    picture.
    """

    kinds: tuple[str, ...] = ()
    """Names of the slots that it fills; known once it is open."""

    pictured: bool = True
    """Whether what it gives has pictures."""

    rated: bool = False
    """Whether what it gives comes with a concreteness; known once it is open."""

    @abstractmethod
    def open(self, train: Split, preprocess: Preprocess) -> None:
        """Prepares for a training split, before any worker starts.

        Args:
            train: Where the samples come from.
            preprocess: What the encoder wants of pixels.

        Raises:
            ConfigError: It has nothing for samples of that sort.
            DataError: A folder or file is missing or unreadable.
        """

    @abstractmethod
    def __call__(self, sample: Sample, rng: random.Random) -> dict[str, Pair | None]:
        """The negatives of a sample.

        Args:
            sample: As the split gives it; a picture that cannot be read is added to its ``skipped``.
            rng: The only source of randomness.

        Returns:
            Slot name to false caption and picture. A slot that is named with None stays empty; one that is not named
            is the source's or a text rule's to fill.
        """


def sample_rng(seed: int, epoch: int, index: int) -> random.Random:
    """A generator that depends on (seed, epoch, index) and on nothing else.

    >>> sample_rng(1, 0, 7).random() == sample_rng(1, 0, 7).random()
    True
    """
    return random.Random(f"{seed}/{epoch}/{index}")


def picture_rng(seed: int, epoch: int, index: int) -> random.Random:
    """As :func:`sample_rng`, of the door of image negatives alone: with it and without, the rules draw the same."""
    return random.Random(f"{seed}/{epoch}/{index}/picture")


def positive_rng(seed: int, epoch: int, index: int) -> random.Random:
    """As :func:`sample_rng`, of the positive text alone: with it and without, all else is drawn the same."""
    return random.Random(f"{seed}/{epoch}/{index}/positive")
