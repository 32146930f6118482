"""Captions and pictures in COCO's layout: 2014, 2017 or the Karpathy split, and any set that is laid out like them."""

from __future__ import annotations

import logging
import random
import shlex
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lightning_cr.benchmarks.pictures import PictureFile
from lightning_cr.data.base import Sample, Source, Split
from lightning_cr.data.coco_annotations import Entry, Problems, is_karpathy, read_entries, read_json
from lightning_cr.encoders.base import Preprocess
from lightning_cr.encoders.preprocess import random_crop, resize_and_crop
from lightning_cr.errors import ConfigError, DataError
from lightning_cr.images import COCO_FOLDERS, ImageFolders, UnreadableImage, read_image

__all__ = ["CocoFolder", "CocoSplit", "Strings"]

log = logging.getLogger(__name__)

_URL = "http://images.cocodataset.org"
_KARPATHY_FILE = "dataset_coco.json"
_MAX_ATTEMPTS = 10  # pictures tried for one sample; so many unreadable ones in a row are no accident


class Strings(Sequence[str]):
    """Many strings in one buffer: half a million Python objects would be copied into every worker, page by page."""

    def __init__(self, strings: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", "replace") for text in strings]  # JSON may hold lone surrogates
        self._buffer = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return self._buffer[self._ends[index] : self._ends[index + 1]].decode("utf-8")


class CocoSplit(Split):
    """One split: its pictures in the order of their ids, each with its captions.

    As a training split it crops at random and, by image, chooses a caption anew in each epoch. As a held-out split it
    crops the centre and takes the first caption. An evaluation gets all there is, without randomness, from
    :meth:`picture` and :meth:`captions`, or by image id from :meth:`load`.

    Args:
        entries: Image id to its captions and where its picture is.
        folders: Where the pictures are.
        preprocess: What the encoder wants of pixels.
        by_caption: Whether an epoch goes through the captions rather than through the pictures.
        crop_scale: Share of the area that a random crop keeps, least and most; None for a held-out split.
    """

    def __init__(
        self,
        entries: dict[int, Entry],
        folders: Sequence[Path],
        preprocess: Preprocess,
        by_caption: bool = False,
        crop_scale: tuple[float, float] | None = None,
    ) -> None:
        ids = sorted(entries)
        ordered = [entries[image_id] for image_id in ids]
        self._ids = np.array(ids, dtype=np.int64)
        self._folder = np.array([entry.place[0] for entry in ordered], dtype=np.uint8)
        self._names = Strings(entry.place[1] for entry in ordered)
        self._texts = Strings(text for entry in ordered for text in entry.captions)
        # The captions of picture number i are those from starts[i] to starts[i + 1].
        self._starts = np.cumsum([0, *(len(entry.captions) for entry in ordered)], dtype=np.int64)
        self._folders = list(folders)
        self._preprocess = preprocess
        self._by_caption = by_caption
        self._crop_scale = crop_scale

    def __len__(self) -> int:
        return len(self._texts) if self._by_caption else len(self._ids)

    @property
    def image_ids(self) -> list[int]:
        """Ids of the pictures, ascending."""
        return [int(image_id) for image_id in self._ids]

    @property
    def crop_scale(self) -> tuple[float, float] | None:
        """As given."""
        return self._crop_scale

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        return len(self._ids)

    def picture(self, index: int) -> PictureFile:
        """Picture number ``index`` of :attr:`image_ids`."""
        return PictureFile(self._path(index))

    def captions(self, index: int) -> list[str]:
        """All captions of picture number ``index``, in the order of the annotations."""
        return [self._texts[row] for row in range(self._starts[index], self._starts[index + 1])]

    def image_path(self, image_id: int) -> Path:
        """The file of a picture; a DataError where the split has no such picture."""
        return self._path(self._index(image_id))

    def load(self, image_id: int) -> Tensor:
        """The pixels of a picture, ``(3, S, S)`` uint8, the centre; a DataError where the split has no such picture."""
        return self.picture(self._index(image_id)).pixels(self._preprocess)

    @property
    def texts(self) -> Sequence[str]:
        """The captions of all pictures."""
        return self._texts

    @property
    def rewords(self) -> bool:
        """Whether any picture has more captions than one."""
        return len(self._texts) > len(self._ids)

    def sample(self, index: int, rng: random.Random, epoch: int) -> Sample:
        """The sample at an index; an unreadable picture is replaced by another one, drawn from ``rng``.

        Raises:
            DataError: One unreadable picture came after the other.
        """
        skipped: dict[str, None] = {}
        for _ in range(_MAX_ATTEMPTS):
            picture = int(np.searchsorted(self._starts, index, side="right")) - 1 if self._by_caption else index
            try:
                image = read_image(self._path(picture))
                break
            except UnreadableImage as error:
                skipped[str(error)] = None
                index = rng.randrange(len(self))
        else:
            raise DataError(f"{_MAX_ATTEMPTS} unreadable images in a row: {'; '.join(skipped)}; check the disk")
        if self._by_caption:
            row = index
        elif self._crop_scale:
            row = rng.randrange(int(self._starts[picture]), int(self._starts[picture + 1]))
        else:
            row = int(self._starts[picture])
        crop = random_crop(image.size, rng, self._crop_scale) if self._crop_scale else None
        return Sample(
            image=resize_and_crop(image, self._preprocess, crop=crop),
            caption=self._texts[row],
            sample_id=row,
            image_id=int(self._ids[picture]),
            skipped=tuple(skipped),
            another=partial(self._another, picture, row),
            crop=crop,
        )

    def unpictured(self, row: int, rng: random.Random) -> Sample:
        """Caption number ``row`` as a sample without pixels; ``rng`` draws of what negatives a split may have."""
        picture = int(np.searchsorted(self._starts, row, side="right")) - 1
        return Sample(torch.empty(0), self._texts[row], row, int(self._ids[picture]))

    def _another(self, picture: int, row: int, rng: random.Random) -> str | None:
        """Another caption of the picture, each of those with other words as likely."""
        rows = range(int(self._starts[picture]), int(self._starts[picture + 1]))
        others = [text for text in map(self._texts.__getitem__, rows) if text != self._texts[row]]
        return rng.choice(others) if others else None

    def _index(self, image_id: int) -> int:
        index = int(np.searchsorted(self._ids, image_id))
        if index == len(self._ids) or self._ids[index] != image_id:
            raise DataError(f"image id {image_id} is not in this split; `image_ids` lists its {len(self._ids)} ids")
        return index

    def _path(self, picture: int) -> Path:
        return self._folders[int(self._folder[picture])] / self._names[picture]


class CocoFolder(Source):
    """COCO captions, and every set in the same layout.

    ``ROOT/annotations/captions_{train,val}{2017,2014}.json``, or Karpathy's ``dataset_coco.json`` in ROOT or
    ``ROOT/annotations`` (train and restval are for training, val is held out); pictures in ``train2017``, ``val2017``,
    ``train2014``, ``val2014``, in ROOT or ``ROOT/images``. Pictures are found by number in whichever folder has them:
    one tree, 2014 or 2017, serves all annotations.

    An evaluation needs neither training annotations nor their pictures. Without a validation file the held-out split is
    empty. It is never cut from the training set, nor taken from another year: val2014 overlaps with train2017.

    Args:
        year: Which annotations; ``auto`` takes 2017, 2014 or Karpathy's, whichever is there first.
        train_annotations: A file of either shape in place of the above, absolute or relative to ROOT.
        val_annotations: Likewise; ``none`` for an empty held-out split.
        sample_by: ``image``: each picture once an epoch, the caption chosen anew each time; ``caption``: every caption
            is one sample, as CE-CLIP trains (samples of one picture share their image id).
        crop_scale: Share of the picture's area that a random crop keeps, least and most.
        max_skipped: Bad entries (captions without text, missing pictures, unreadable files) to put up with.
    """

    def __init__(
        self,
        year: Literal["auto", "2014", "2017"] = "auto",
        train_annotations: str | None = None,
        val_annotations: str | None = None,
        sample_by: Literal["image", "caption"] = "image",
        crop_scale: tuple[float, float] = (0.9, 1.0),
        max_skipped: int = 20,
    ) -> None:
        for name, value, fits, allowed in (
            ("year", year, year in ("auto", "2014", "2017"), "auto, 2014 or 2017"),
            ("sample_by", sample_by, sample_by in ("image", "caption"), "image or caption"),
            ("crop_scale", crop_scale, 0 < crop_scale[0] <= crop_scale[1] <= 1, "0 < least <= most <= 1"),
            ("max_skipped", max_skipped, max_skipped >= 0, "0 or more"),
        ):
            if not fits:
                raise ConfigError(f"{name} is {value!r}, allowed is {allowed}; set --data.source.{name}")
        self.years = ("2017", "2014") if year == "auto" else (year,)
        self.train_annotations = train_annotations
        self.val_annotations = val_annotations
        self.sample_by = sample_by
        self.crop_scale = (crop_scale[0], crop_scale[1])
        self.max_skipped = max_skipped

    def open(self, root: Path | None, preprocess: Preprocess, seed: int) -> tuple[CocoSplit, CocoSplit]:
        """The training split and the held-out split; see :meth:`Source.open`."""
        if root is None or not root.is_dir():
            what = "COCO needs a folder and none was given" if root is None else f"the data root {root} is no folder"
            raise DataError(f"{what}; set --data.root=DIR; {_get(root or 'DIR', self.years[0])}")
        folders = ImageFolders(root, COCO_FOLDERS)
        problems = Problems(self.max_skipped)
        train_path: Path | None = None
        train_data: dict[str, Any] = {}
        train: dict[int, Entry] = {}
        self.no_training = ""
        try:
            train_path = self._train_path(root)
            if not folders.paths:
                looked = f"looked for {', '.join(COCO_FOLDERS)}, there and in {root / 'images'}"
                raise DataError(f"no folder of images in {root}: {looked}; {_get(root, self.years[0], 'train')}")
            train_data = read_json(train_path)
            train = _located(train_data, train_path, "train", root, folders, problems)
            problems.check()
            if not train:
                raise DataError(f"{train_path} has no caption for training; {_get(root, self.years[0])}")
        except DataError as error:  # told by a fit; what training lacks must not stop an evaluation
            self.no_training, train, problems = str(error), {}, Problems(self.max_skipped)
        val: dict[int, Entry] = {}
        val_path = self._val_path(root, train_path, is_karpathy(train_data))
        if self.no_training and not (val_path and folders.paths):
            raise DataError(self.no_training)
        if val_path:
            val_data = train_data if val_path == train_path else read_json(val_path)
            val = _located(val_data, val_path, "val", root, folders, problems)
        else:
            log.warning("COCO: no validation annotations in %s, the held-out split is empty", root)
        problems.check()
        self.skipped = problems.first
        for line in problems.shown:
            log.warning("COCO: skipped: %s", line)
        shared = {entry.place for entry in train.values()} & {entry.place for entry in val.values()}
        if shared:
            log.warning("COCO: %d pictures are both in %s and in %s", len(shared), train_path, val_path)
        return (
            CocoSplit(train, folders.paths, preprocess, self.sample_by == "caption", self.crop_scale),
            CocoSplit(val, folders.paths, preprocess),
        )

    def _train_path(self, root: Path) -> Path:
        if self.train_annotations is not None:
            return _explicit(root, self.train_annotations, "train_annotations")
        looked = [root / "annotations" / f"captions_train{year}.json" for year in self.years]
        if "2014" in self.years:  # the pictures of the Karpathy split are those of 2014
            looked += [root / _KARPATHY_FILE, root / "annotations" / _KARPATHY_FILE]
        if found := next((path for path in looked if path.is_file()), None):
            return found
        raise DataError(f"no COCO annotations: looked for {', '.join(map(str, looked))}; {_get(root, self.years[0])}")

    def _val_path(self, root: Path, train_path: Path | None, karpathy: bool) -> Path | None:
        if self.val_annotations == "none":
            return None
        if self.val_annotations is not None:
            return _explicit(root, self.val_annotations, "val_annotations")
        if karpathy:
            return train_path
        years = [year for year in self.years if train_path and year in train_path.name] or self.years
        looked = [root / "annotations" / f"captions_val{year}.json" for year in years]
        return next((path for path in looked if path.is_file()), None)


def _located(
    data: dict[str, Any], path: Path, split: str, root: Path, folders: ImageFolders, problems: Problems
) -> dict[int, Entry]:
    """The entries of a split whose pictures are there."""
    entries = read_entries(data, path, split, problems)
    located: dict[int, Entry] = {}
    for image_id, entry in entries.items():
        if place := folders.find(image_id, entry.file_name, entry.folder):
            entry.place = place
            located[image_id] = entry
        else:
            problems.add(f"{path}: no picture for image id {image_id} in {root}")
    if entries and not located:
        number, year = f"{min(entries):012d}", "2014" if "2014" in next(iter(entries.values())).folder else "2017"
        without = ", or go without with --data.source.val_annotations=none" if split == "val" else ""
        raise DataError(
            f"none of the {len(entries)} pictures of {path} was found: looked in {', '.join(map(str, folders.paths))} "
            f"for {number}.jpg, COCO_train2014_{number}.jpg and so on (.jpg, .jpeg, .png, .webp); "
            f"{_get(root, year, split)}{without}"
        )
    return located


def _get(root: str | Path, year: str, split: str = "") -> str:
    """The next step: how to fetch the annotations, or the pictures of a split."""
    root = shlex.quote(str(root))
    path = f"zips/{split}{year}.zip" if split else f"annotations/annotations_trainval{year}.zip"
    return f"get it with: mkdir -p {root} && cd {root} && curl -O {_URL}/{path} && unzip {path.rpartition('/')[2]}"


def _explicit(root: Path, name: str, flag: str) -> Path:
    if (path := root / name).is_file():  # an absolute name stays as it is
        return path
    raise DataError(f"there is no file {path}; mend --data.source.{flag} (absolute, or relative to {root})")
