"""Captions with negatives that somebody else has made: earlier work's files, or those of a generator of your own."""

from __future__ import annotations

import hashlib
import logging
import random
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from torch import Tensor

from lightning_cr.data.base import Sample, Source
from lightning_cr.data.coco import CocoSplit, Strings
from lightning_cr.data.coco_annotations import Entry, Problems
from lightning_cr.data.given_records import Row, read_rows
from lightning_cr.data.scenes import changed
from lightning_cr.encoders.base import Preprocess
from lightning_cr.encoders.preprocess import resize_and_crop
from lightning_cr.errors import ConfigError, DataError, suggest
from lightning_cr.images import COCO_FOLDERS, ImageTree, UnreadableImage, read_image
from lightning_cr.negatives.text.base import Negative

__all__ = ["GivenNegatives", "GivenSplit"]

log = logging.getLogger(__name__)

_SIMILAR = "similar"
_MOST_KINDS = 32  # each is a slot; more come of a file that says something else under "kind"


class GivenSplit(CocoSplit):
    """One split: a sample a caption, with the negatives that its file gives.

    Args:
        rows: For each picture, its rows.
        places: For each picture, its path below ``root``.
        root: Folder of the pictures.
        preprocess: What the encoder wants of pixels.
        kinds: Kinds of negatives that fill slots.
        slots: Slots of each kind.
        similar: Whether a similar picture and its caption fill the slot ``similar``.
        crop_scale: See :class:`CocoSplit`; None for a held-out split.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[Row]],
        places: Sequence[str],
        root: Path,
        preprocess: Preprocess,
        kinds: Sequence[str],
        slots: int = 1,
        similar: bool = False,
        crop_scale: tuple[float, float] | None = None,
    ) -> None:
        entries = {
            number: Entry(place, "", [row.caption for row in group], (0, place))
            for number, (place, group) in enumerate(zip(places, rows, strict=True))
        }
        super().__init__(entries, [root], preprocess, by_caption=True, crop_scale=crop_scale)
        # Of its place, not its number: a store of pictures then goes with the captions in whatever order.
        self._ids = np.array([_id_of(place) for place in places], dtype=np.int64)
        self._kinds = tuple(kinds)
        self._slots = slots
        flat = list(chain.from_iterable(rows))
        codes = {kind: code for code, kind in enumerate(self._kinds)}
        given = [[negative for negative in row.negatives if negative.kind in codes] for row in flat]
        self._given = Strings(negative.text for group in given for negative in group)
        self._codes = np.array([codes[n.kind] for group in given for n in group], dtype=np.uint8)
        ratings = [n.concreteness for group in given for n in group]
        self._ratings = np.array([np.nan if rating is None else rating for rating in ratings], dtype=np.float32)
        # The negatives of caption number i are those from ends[i] to ends[i + 1]; the similar captions likewise.
        self._ends = np.cumsum([0, *map(len, given)], dtype=np.int64)
        position = {row.number: at for at, row in enumerate(flat)} if similar else {}
        near = [[position[other] for other in row.similar if other in position] for row in flat]
        self._near = np.array(list(chain.from_iterable(near)), dtype=np.int64)
        self._near_ends = np.cumsum([0, *map(len, near)], dtype=np.int64)

    def sample(self, index: int, rng: random.Random, epoch: int) -> Sample:
        """The caption at an index with its picture and its negatives; which of several is drawn from ``rng``."""
        sample = super().sample(index, rng, epoch)
        self._add_given(sample, rng)
        self._add_similar(sample, rng)
        return sample

    def unpictured(self, row: int, rng: random.Random) -> Sample:
        """Caption number ``row`` with its negatives, without pixels and without ``similar``, whose picture is known."""
        sample = super().unpictured(row, rng)
        self._add_given(sample, rng)
        return sample

    def _add_given(self, sample: Sample, rng: random.Random) -> None:
        row = sample.sample_id
        here = range(int(self._ends[row]), int(self._ends[row + 1]))
        sample.negatives = {}
        for code, kind in enumerate(self._kinds):
            found = [at for at in here if self._codes[at] == code]
            if len(found) > self._slots:
                found = sorted(rng.sample(found, self._slots))
            for number, at in enumerate(found):
                slot = kind if self._slots == 1 else f"{kind}_{number}"
                rating = float(self._ratings[at])
                sample.negatives[slot] = self._negative(sample, self._given[at], slot, rating), None

    def _add_similar(self, sample: Sample, rng: random.Random) -> None:
        """A similar picture with its caption, which is a negative of this picture whose own picture is known."""
        row = sample.sample_id
        others = [int(at) for at in self._near[self._near_ends[row] : self._near_ends[row + 1]]]
        others = [at for at in others if self._owner(at) != self._owner(row) and self._texts[at] != sample.caption]
        if not others or sample.negatives is None:
            return
        other = others[rng.randrange(len(others))]
        crop = (rng, self._crop_scale) if self._crop_scale else ()
        try:
            picture: Tensor = resize_and_crop(read_image(self._path(self._owner(other))), self._preprocess, *crop)
        except UnreadableImage as error:
            sample.skipped = (*sample.skipped, str(error))
            return
        sample.negatives[_SIMILAR] = self._negative(sample, self._texts[other], _SIMILAR), picture

    @property
    def image_ids(self) -> list[int]:
        """Ids of the pictures, in the order of the file: 63 bits of each one's path below the root."""
        return super().image_ids

    def _index(self, image_id: int) -> int:
        found = np.flatnonzero(self._ids == image_id)
        if not len(found):
            raise DataError(f"image id {image_id} is not in this split; `image_ids` lists its {len(self._ids)} ids")
        return int(found[0])

    def _owner(self, row: int) -> int:
        return int(np.searchsorted(self._starts, row, side="right")) - 1

    def _negative(self, sample: Sample, text: str, slot: str, rating: float = np.nan) -> Negative:
        return Negative(text, slot, *changed(sample.caption, text), None if np.isnan(rating) else rating)


class GivenNegatives(Source):
    """Captions with given negatives, each of which fills the slot of its kind; other slots are the text rules'.

    Files, by their ending: ``.tsv`` as NegCLIP publishes it (title, filepath, neg_caption, neg_image); ``.json`` (a
    list) and ``.jsonl`` and ``.parquet`` with one record a caption, which are CE-CLIP's and AHNPL's (caption,
    ``*_aug_caption``, valid_caption; image_id or image_path) or have ``image``, ``caption`` and ``negatives``, a list
    of ``{text, kind}`` or kind to text. ``python -m lightning_cr negatives --out`` writes such a file too. Pickles are
    refused.

    A picture is looked for in ROOT by its path in the file, with and without its first folders, and a picture of COCO
    by its number in any tree of COCO's.

    What NegCLIP trains on and this does not give: of the similar picture that it draws for each sample, it also takes a
    negative caption into the batch.

    Args:
        train: A file, absolute or relative to ROOT; ``*`` in its name stands for anything: several files are one.
        val: Likewise, for the held-out split; none for an empty one.
        kinds: Kinds of negatives that fill slots, in order; none takes all that the file has, in the order of their
            first appearance. NegCLIP's and those without a kind are of the kind ``given``; CE-CLIP's and AHNPL's are of
            the slots of configs/ahnpl.yaml (relation: swap_obj, adj_swap: swap_att, adj: replace_att, noun:
            replace_obj, verb: replace_rel).
        slots: Of several negatives of a kind one is drawn anew in each epoch (1), or so many fill slots of their own,
            ``given_0``, ``given_1``, ...
        similar: Fill the slot ``similar`` with the caption and the picture of a similar row (NegCLIP's neg_image).
        crop_scale: Share of the picture's area that a random crop keeps, least and most.
        max_skipped: Bad rows (missing columns, a list that is none, missing or unreadable pictures) to put up with.

    Raises:
        ConfigError: A value out of range.
    """

    def __init__(
        self,
        train: str,
        val: str | None = None,
        kinds: list[str] | None = None,
        slots: int = 1,
        similar: bool = False,
        crop_scale: tuple[float, float] = (0.9, 1.0),
        max_skipped: int = 20,
    ) -> None:
        for name, value, fits, allowed in (
            ("slots", slots, slots >= 1, "1 or more"),
            ("crop_scale", crop_scale, 0 < crop_scale[0] <= crop_scale[1] <= 1, "0 < least <= most <= 1"),
            ("max_skipped", max_skipped, max_skipped >= 0, "0 or more"),
        ):
            if not fits:
                raise ConfigError(f"{name} is {value!r}, allowed is {allowed}; set --data.source.{name}")
        self.train = train
        self.val = val
        self.wanted = kinds
        self.slots = slots
        self.similar = similar
        self.pictured = similar  # of the others nobody has the true picture
        self.crop_scale = (crop_scale[0], crop_scale[1])
        self.max_skipped = max_skipped
        self.left_out: Counter[str] = Counter()
        """Negatives that were left out, by why: ``equal`` to their caption, or ``empty``."""

    def open(self, root: Path | None, preprocess: Preprocess, seed: int) -> tuple[GivenSplit, GivenSplit]:
        """The training split and the held-out split; see :meth:`Source.open`."""
        if root is None or not root.is_dir():
            what = "no folder of pictures was given" if root is None else f"the data root {root} is no folder"
            raise DataError(f"{what}; set --data.root=DIR, below which the paths in {self.train} begin")
        pictures, problems = ImageTree(root), Problems(self.max_skipped)
        train: _Found = ([], [])
        self.no_training = ""
        self.left_out.clear()
        try:
            train = self._read(self.train, "train", pictures, problems)
            problems.check()
            kinds = self._present(train)
        except DataError as error:  # told by a fit; what training lacks must not stop an evaluation
            if self.val is None:
                raise
            self.no_training, problems, train = str(error), Problems(self.max_skipped), ([], [])
        val: _Found = ([], []) if self.val is None else self._read(self.val, "val", pictures, problems)
        problems.check()
        if self.no_training:
            kinds = self.wanted or _kinds(val)
        self.skipped = problems.first
        for line in problems.shown:
            log.warning("given negatives: skipped: %s", line)
        if self.left_out:
            counts = ", ".join(f"{count} {why}" for why, count in sorted(self.left_out.items()))
            log.warning("given negatives: left out as no negatives of their caption: %s", counts)
        if shared := set(train[1]) & set(val[1]):
            log.warning("given negatives: %d pictures are both in %s and in %s", len(shared), self.train, self.val)
        slots = [kind if self.slots == 1 else f"{kind}_{number}" for kind in kinds for number in range(self.slots)]
        self.kinds = (*slots, _SIMILAR) if self.similar else tuple(slots)
        self.rated = any(n.concreteness is not None for group in train[0] for row in group for n in row.negatives)
        return (
            GivenSplit(*train, root, preprocess, kinds, self.slots, self.similar, self.crop_scale),
            GivenSplit(*val, root, preprocess, kinds, self.slots, self.similar),
        )

    def _read(self, name: str, split: str, pictures: ImageTree, problems: Problems) -> _Found:
        """The usable rows of a file, or of all that match, by picture."""
        root = pictures.root
        asked = root / name  # an absolute name stays as it is
        paths = sorted(asked.parent.glob(asked.name)) if "*" in asked.name else [asked]
        if not paths or not all(path.is_file() for path in paths):
            raise DataError(f"there is no file {asked}; mend --data.source.{split} (absolute, or below {root})")
        by_place: dict[str, list[Row]] = {}
        first, count = "", 0
        for path in paths:
            before = count  # rows are counted through all files, so that each keeps its own number
            for row in read_rows(path, problems, self.left_out):
                count = max(count, before + row.number + 1)
                row.number += before
                row.similar = tuple(before + other for other in row.similar)
                if place := pictures.find(row.image):
                    by_place.setdefault(place, []).append(row)
                else:
                    first = first or str(row.image)
                    problems.add(f"{row.where}: no picture {row.image} in {root}")
        if not by_place:
            if first:
                raise DataError(
                    f"none of the pictures of {asked} was found: looked for {first} in {root}, also without its"
                    f" first folders and in {', '.join(COCO_FOLDERS)}; set --data.root to the folder where the paths"
                    " begin"
                )
            why = f", the first because {problems.first[0]}" if problems.first else ""
            raise DataError(f"{asked} has no row that can be used{why}; mend it or fetch it again")
        return list(by_place.values()), list(by_place)

    def _present(self, found: _Found) -> Sequence[str]:
        """The kinds that are wanted and there.

        Raises:
            ConfigError: One that is wanted is not there, or there are too many to be slots.
        """
        present = _kinds(found)
        if self.wanted is None and len(present) > _MOST_KINDS:
            some = ", ".join(present[:5])
            raise ConfigError(
                f"{self.train} has {len(present)} kinds of negatives ({some}, ...), more than the {_MOST_KINDS} that"
                " become slots by themselves; name those that you want with --data.source.kinds"
            )
        for kind in self.wanted or ():
            if kind not in present:
                raise ConfigError(
                    f"--data.source.kinds names '{kind}', which {self.train} does not have; it has"
                    f" {', '.join(present) or 'no negatives'}.{suggest(kind, present)}"
                )
        return present if self.wanted is None else self.wanted


def _id_of(place: str) -> int:
    """63 bits of a picture's path below the root."""
    return int.from_bytes(hashlib.blake2b(place.encode("utf-8", "replace"), digest_size=8).digest(), "little") >> 1


_Found = tuple[list[list[Row]], list[str]]
"""For each picture its rows, and its path below the root."""


def _kinds(found: _Found) -> list[str]:
    return list(dict.fromkeys(n.kind for group in found[0] for row in group for n in row.negatives))
