"""Image negatives from a store: false captions whose pictures were made beforehand."""

from __future__ import annotations

import random
from itertools import zip_longest
from typing import Any, Literal

import numpy as np

from lightning_cr import distributed
from lightning_cr.data.base import ImageNegatives, Pair, Sample, Split
from lightning_cr.encoders.base import Preprocess
from lightning_cr.encoders.preprocess import random_crop, resize_and_crop
from lightning_cr.errors import ConfigError, DataError, suggest
from lightning_cr.images import UnreadableImage
from lightning_cr.negatives.image.manifest import pair_hash
from lightning_cr.negatives.image.store import PictureStore
from lightning_cr.negatives.text.base import Negative

__all__ = ["StoredPictures"]


class StoredPictures(ImageNegatives):
    """The false captions that a store has pictures of, each with its picture, in the slot of its kind.

    A sample is found by its image id and its caption, so the store goes with the data set that it was made from, in
    whatever order. Of several pictures of a kind one is drawn anew in each epoch. The text rules draw the same with a
    store and without.

    Args:
        folder: The store, as ``python -m lightning_cr synthesize`` makes it.
        kinds: Kinds of negatives to use, in order; none takes all that the store has.
        slots: Slots of each kind: ``swap_att`` (1), or so many of their own, ``swap_att_0``, ``swap_att_1``, ...
        min_text_margin: Use a picture only where a frozen dual encoder holds it closer to the false caption than the
            original is, by so much (difference of cosines, in the manifest); none uses all.
        min_image_margin: Use it only where the original is closer to its caption than the picture is, by so much.
        otherwise: What fills a slot that the store has nothing for: ``rule``, the source or the text rule of that name,
            or ``empty``, nothing.
        crop: Which part of a picture is seen. ``same``, that of the original in shares of both, for edited pictures:
            the generator squashes the whole original to its square, so both show the same in the same shape. ``own``,
            another one, for pictures painted from text: these are square, so where originals are not, a crop squashes
            the originals (4:3 by up to a third) and hardly the pictures, and a model may learn to tell them by that.
        crop_scale: Share of the area that an own crop keeps, least and most; none takes the training split's.

    Raises:
        ConfigError: A value out of range; once it is opened, a kind that the store does not have, or nothing that
            passes the margins.
        DataError: Once it is opened: no store, a damaged one, or one that was made from other captions.
    """

    def __init__(
        self,
        folder: str,
        kinds: list[str] | None = None,
        slots: int = 1,
        min_text_margin: float | None = None,
        min_image_margin: float | None = None,
        otherwise: Literal["rule", "empty"] = "rule",
        crop: Literal["same", "own"] = "same",
        crop_scale: tuple[float, float] | None = None,
    ) -> None:
        scale = crop_scale or (1.0, 1.0)
        for name, value, fits, allowed in (
            ("slots", slots, slots >= 1, "1 or more"),
            ("crop_scale", crop_scale, 0 < scale[0] <= scale[1] <= 1, "0 < least <= most <= 1"),
        ):
            if not fits:
                raise ConfigError(f"{name} is {value!r}, allowed is {allowed}; set --data.image_negatives.{name}")
        self.folder = folder
        self.wanted = kinds
        self.slots = slots
        self.margins = {"text_margin": min_text_margin, "image_margin": min_image_margin}
        self.otherwise = otherwise
        self.crop = crop
        self.crop_scale = crop_scale

    def __getstate__(self) -> dict[str, Any]:
        state = vars(self).copy()
        for large in ("_pairs", "_rows", "_codes"):
            state.pop(large, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "_store" in state:
            self._index()

    def open(self, train: Split, preprocess: Preprocess) -> None:
        """Reads the manifest, leaves out what the margins forbid, and tells once what is there."""
        self._preprocess = preprocess
        self._own_scale = self.crop_scale or train.crop_scale or (1.0, 1.0)
        self._store = PictureStore(self.folder)
        present = sorted(_words(self._store.rows.column("kind"))[1])
        for kind in self.wanted or ():
            if kind not in present:
                raise ConfigError(
                    f"data.image_negatives.kinds names '{kind}', which the store {self.folder} does not have; it has"
                    f" {', '.join(present) or 'no pictures'}.{suggest(kind, present)}"
                )
        self._names = present if self.wanted is None else self.wanted
        told = self._index()
        if not len(self._rows):
            raise ConfigError(
                f"the store {self.folder} has no picture to train on ({told or 'it is empty'}); lower"
                " data.image_negatives.min_text_margin and min_image_margin, or make more: python -m lightning_cr"
                " synthesize --help"
            )
        self.kinds = tuple(slot for kind in self._names for slot in self._slots_of(kind))
        ratings = self._store.rows.column("concreteness").to_numpy()
        self.rated = bool(np.isfinite(ratings[self._rows]).any())
        covered = self._covered(train)
        if distributed.rank() == 0:
            print(f"pictures in {self.folder}: {told}{covered}")

    def _index(self) -> str:
        """Finds the rows to use by pair; what it left out and why, in words, kind by kind."""
        rows = self._store.rows
        stored, names = _words(rows.column("kind"))
        # Kind by number among those wanted, -1 for another.
        codes = np.array([self._names.index(n) if n in self._names else -1 for n in names], dtype=np.int16)[stored]
        reason, reasons = _words(rows.column("dropped"))
        kept = np.array([name == "" for name in reasons], dtype=bool)[reason]
        for name, least in self.margins.items():
            if least is not None:
                values = rows.column(name).to_numpy()
                for why, out in (f"no {name}", np.isnan(values)), (f"{name} below {least:g}", values < least):
                    reason[kept & out] = len(reasons)
                    reasons.append(why)
                    kept &= ~out
        at = np.flatnonzero(kept & (codes >= 0))
        pairs = rows.column("pair").to_numpy()[at]
        order = np.argsort(pairs, kind="stable")
        self._pairs, self._rows, self._codes = pairs[order], at[order], codes[at][order]
        told = []
        for code, kind in enumerate(self._names):
            here = codes == code
            counts = np.bincount(reason[here & ~kept], minlength=len(reasons))
            out = ", ".join(f"{count:,} {why}" for why, count in zip(reasons, counts, strict=True) if count)
            told.append(f"{kind} {int((here & kept).sum()):,} of {int(here.sum()):,}{out and f' (without {out})'}")
        return "; ".join(told)

    def _covered(self, train: Split) -> str:
        """How many captions of the training split have a picture, where that can be counted."""
        if train.image_ids is None:
            return ""
        captions = (
            pair_hash(image_id, text)
            for index, image_id in enumerate(train.image_ids)
            for text in train.captions(index)
        )
        asked = np.fromiter(captions, dtype=np.uint64)
        found = int(np.isin(asked, self._pairs).sum())
        if not found:
            caption, image_id = self._store.said(int(self._rows[0]), "caption", "image_id")
            raise DataError(
                f"none of the {len(asked):,} training captions is in the store {self.folder}, which has pictures for"
                f" captions such as {caption[:60]!r} of image {image_id}; give it the data that it was"
                " made from, or make one for these: python -m lightning_cr synthesize --help"
            )
        return f"; {found:,} of {len(asked):,} training captions have one"

    def _slots_of(self, kind: str) -> list[str]:
        return [kind] if self.slots == 1 else [f"{kind}_{number}" for number in range(self.slots)]

    def __call__(self, sample: Sample, rng: random.Random) -> dict[str, Pair | None]:
        """What the store has for the sample; a picture that cannot be read is passed over."""
        wanted = np.uint64(pair_hash(sample.image_id, sample.caption))
        here = slice(np.searchsorted(self._pairs, wanted, "left"), np.searchsorted(self._pairs, wanted, "right"))
        found: dict[str, Pair | None] = {}
        for code, kind in enumerate(self._names):
            slots = self._slots_of(kind)
            captions = self._by_caption(self._rows[here][self._codes[here] == code].tolist())
            drawn = rng.sample(captions, min(len(slots), len(captions)))
            for slot, rows in zip_longest(slots, drawn):
                pair = self._pair(sample, slot, rng.choice(rows), rng) if rows else None
                if pair is not None or self.otherwise == "empty":
                    found[slot] = pair
        return found

    def _pair(self, sample: Sample, slot: str, row: int, rng: random.Random) -> Pair | None:
        caption, text, *edit = self._store.said(row, "caption", "negative", *_EDIT)
        if caption != sample.caption:  # another one with the same hash
            return None
        try:
            picture = self._store.image(row)
        except UnreadableImage as error:
            sample.skipped = (*sample.skipped, str(error))
            return None
        crop = sample.crop
        if crop is not None and self.crop == "own":
            crop = random_crop(picture.size, rng, self._own_scale)
        return Negative(text, slot, *edit), resize_and_crop(picture, self._preprocess, crop=crop)

    def _by_caption(self, rows: list[int]) -> list[list[int]]:
        """Rows of the same false caption together, in an order that does not hang on which unit was written first."""
        if len(rows) < 2:
            return [rows] if rows else []
        found: dict[str, list[int]] = {}
        for text, _, row in sorted((*self._store.said(row, "negative", "key"), row) for row in rows):
            found.setdefault(text, []).append(row)
        return list(found.values())


_EDIT = ("original", "replacement", "start", "end", "concreteness")


def _words(column: Any) -> tuple[Any, list[str]]:
    """A dictionary column as numbers, and what they stand for: a million rows are no million Python strings."""
    whole = column.unify_dictionaries().combine_chunks()
    return whole.indices.to_numpy().copy(), whole.dictionary.to_pylist()
