"""The LightningDataModule of the generator: the wrong captions that have no picture yet, a shard of them at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_cr import distributed
from lightning_cr.data.base import Source
from lightning_cr.data.coco import CocoSplit
from lightning_cr.data.datamodule import CompositionData
from lightning_cr.encoders.base import Preprocess
from lightning_cr.encoders.preprocess import resize_and_crop
from lightning_cr.errors import ConfigError, DataError
from lightning_cr.images import MIN_SIDE, UnreadableImage, read_image
from lightning_cr.look.command import progress_bar
from lightning_cr.negatives.image.store import PictureStore
from lightning_cr.negatives.text import TextNegatives
from lightning_cr.synthesize.boxes import Box, Boxes
from lightning_cr.synthesize.model import Synthesis
from lightning_cr.synthesize.plan import digest_of, draw
from lightning_cr.synthesize.work import Work

__all__ = ["Shards", "SynthesisData"]

log = logging.getLogger(__name__)

_ANY_SIZE = Preprocess(224, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # for opening a source; pictures are read by their path


class SynthesisData(CompositionData):
    """Draws the negatives of all captions of a split, and hands out those that the store has no picture of.

    Which pictures are painted together depends on what is missing when the run begins, and not on the processes: as
    shards are written whole, a run that was killed goes on with the same shards, and its pictures are the same.

    Args:
        source: Captions in files: ``CocoFolder``, or ``GivenNegatives`` for captions whose negatives are given.
        root: Folder of the data set.
        store: Folder for the pictures, made where it is not there.
        split: ``train`` or ``val``.
        negatives: The text rules, by the name of the slot they fill.
        rounds: Draws of each slot a caption; more give several negatives a slot.
        limit: Pictures at most; None for all.
        shard: Pictures in one file. What is done is kept in whole shards, so a kill loses the work on one a device.
        batch_size: Pictures that the pipeline paints at once on one device.
        num_workers: Processes that read originals; a pipeline that needs none, without a filter, has nothing to read.
        seed: Of the negatives and the pictures.
        boxes: Where things are, for inpainting: COCO's ``instances_*.json`` or a JSONL file, see
            :class:`lightning_cr.synthesize.boxes.Boxes`.

    Raises:
        ConfigError: A number out of range, captions that are in no file, or no negatives.
        DataError: A folder or file that is missing or unreadable.
    """

    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(
        self,
        source: Source,
        root: str | None = None,
        store: str = "",
        split: Literal["train", "val"] = "train",
        negatives: TextNegatives = TextNegatives(),  # noqa: B008 (never changed in place)
        rounds: int = 1,
        limit: int | None = None,
        shard: int = 128,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        boxes: str | None = None,
    ) -> None:
        super().__init__(source, root, batch_size, num_workers=num_workers, seed=seed, negatives=negatives)
        for name, value in (("rounds", rounds), ("limit", 1 if limit is None else limit), ("shard", shard)):
            if value < 1:
                raise ConfigError(f"--data.{name} is {value}; it must be 1 or more")
        if not store:
            raise ConfigError("--data.store is missing; name a folder for the pictures: --data.store DIR")
        self.folder = store
        self.split_name = split
        self.rounds = rounds
        self.limit = limit
        self.shard = shard
        self.boxes = boxes
        self.unboxed = 0
        """Negatives without a box, which an inpainting pipeline cannot make."""

    def setup(self, stage: str) -> None:
        """Opens the source."""
        if self._opened is not None:
            return
        if self.negatives.lexicon is None:
            self.negatives = replace(self.negatives, lexicon=self.source.lexicon)
        self._opened = self.source.open(self.root, _ANY_SIZE, self.seed)
        self.skip(self.source.skipped)
        if self.split_name == "train" and self.source.no_training:
            raise DataError(self.source.no_training)
        if self.negatives.context == "corpus" and self.source.no_training:
            raise ConfigError(
                "data.negatives.context is 'corpus': the rules learn from the training captions, which are not there"
                f" ({self.source.no_training}); or use --data.negatives.context none"
            )
        if not isinstance(self.train, CocoSplit):
            raise ConfigError(
                f"data.source is {type(self.source).__name__}, whose captions are in no file; use CocoFolder or"
                " GivenNegatives (the embedded world draws its own negatives: configs/slipform.yaml)"
            )

    @property
    def split(self) -> CocoSplit:
        """The captions that are drawn from."""
        split = self.train if self.split_name == "train" else self.held_out
        assert isinstance(split, CocoSplit)  # setup() has seen to it
        return split

    def predict_dataloader(self) -> DataLoader[Any]:
        """What is missing, a shard at a time; each process reads it from the store before any adds to it."""
        assert self.trainer is not None
        model = self.trainer.lightning_module
        assert isinstance(model, Synthesis)
        self.store = PictureStore(self.folder, create=True)
        known = self._open_boxes(model) if model.mode == "inpaint" else None
        if self.negatives.context == "corpus" and self.negatives.kinds:  # minutes; what can be wrong was looked at
            self._learn()
        corpus = self._corpus if self.split is self.train else None
        with progress_bar("drawing negatives", None) as bar:
            tell = None if distributed.rank() else bar
            plan = draw(
                self.split, self.negatives, corpus, self.seed, self.rounds, model.recipe_digest, self.limit, tell
            )
        if not len(plan):
            raise ConfigError(
                f"no negatives of the {len(self.split.texts):,} captions; name rules, such as --data.negatives.rules"
                " '{replace_obj: ReplaceObject}'"
            )
        boxes: list[list[Box]] | None = None
        if known is not None:
            boxes = [
                known(image_id, words)
                for image_id, words in zip(plan["image_id"].to_pylist(), plan["original"].to_pylist(), strict=True)
            ]
            there = [bool(found) for found in boxes]
            self.unboxed = there.count(False)
            plan, boxes = plan.filter(pa.array(there)), [found for found in boxes if found]
        self.planned = plan
        missing = np.flatnonzero(~np.asarray(compute.is_in(plan["key"], self.store.rows["key"])))
        self.missing = len(missing)
        shards = [missing[at : at + self.shard] for at in range(0, len(missing), self.shard)]
        if shards:  # Lightning's sampler wants one for each process
            shards += [missing[:0]] * (distributed.world_size() - len(shards))
        if distributed.rank() == 0:
            self._say(model, plan, missing)
        return DataLoader(
            Shards(plan, boxes, shards, self.split, model.size if model.needs_originals else 0, model.judge_preprocess),
            batch_size=None,
            num_workers=self.num_workers if model.reads_originals else 0,
            prefetch_factor=1 if self.num_workers and model.reads_originals else None,
        )

    def _open_boxes(self, model: Synthesis) -> Boxes:
        if self.boxes is None:
            raise ConfigError(
                "the pipeline paints inside a mask (model.mode inpaint); say where things are with --data.boxes"
                " annotations/instances_train2017.json, or use another --model.mode"
            )
        path = Path(self.boxes).expanduser()
        boxes = Boxes(path if path.is_file() or self.root is None else self.root / path, self.negatives.lexicon)
        model.recipe["boxes"] = boxes.digest
        return boxes

    def _say(self, model: Synthesis, plan: Any, missing: Any) -> None:
        print(f"{len(plan):,} wrong captions, {len(plan) - len(missing):,} of them in {self.folder} already")
        if self.unboxed:
            print(f"left out, as no box says where the replaced thing is: {self.unboxed:,}")
        model.tell_too_long(plan.take(missing))

    def transfer_batch_to_device(self, batch: Work, device: torch.device, dataloader_idx: int) -> Work:
        """Leaves it where it is: pipelines want pictures of Pillow."""
        return batch

    def on_before_batch_transfer(self, batch: Work, dataloader_idx: int) -> Work:
        """Counts originals that could not be read, and stops past the limit."""
        self.skip(batch.skipped)
        return batch


class Shards(Dataset[Work]):
    """The rows of each shard with their originals.

    Args:
        plan: All rows.
        boxes: Of each row, or None.
        shards: For each shard the places of its rows.
        split: Knows where the originals are.
        size: Side in pixels of the originals that the pipeline edits; 0 where it takes none.
        preprocess: How the encoder that judges takes the originals; None where there is none.
    """

    def __init__(
        self,
        plan: Any,
        boxes: Sequence[Sequence[Box]] | None,
        shards: Sequence[Any],
        split: CocoSplit,
        size: int,
        preprocess: Preprocess | None,
    ) -> None:
        self.plan = plan
        self.boxes = boxes
        self.shards = shards
        self.split = split
        self.size = size
        self.preprocess = preprocess

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> Work:
        """One shard; its unit's name is a digest of its rows' keys."""
        places = self.shards[index]
        work = Work("", self.plan.take(places).to_pylist())
        work.unit = digest_of(*(row["key"] for row in work.rows))
        if self.boxes is not None:
            work.boxes = [self.boxes[place] for place in places]
        if work.rows and (self.size or self.preprocess is not None):
            self._read(work)
        return work

    def _read(self, work: Work) -> None:
        edited: list[Tensor] = []
        judged: list[Tensor] = []
        read: dict[int, tuple[Tensor, Tensor]] = {}  # several captions of a picture come one after the other
        for row in work.rows:
            image_id = row["image_id"]
            if image_id not in read:
                read = {image_id: self._original(image_id, work)}
            edited.append(read[image_id][0])
            judged.append(read[image_id][1])
        if self.size:
            work.originals = torch.stack(edited)
        if self.preprocess is not None:
            work.judged = torch.stack(judged)

    def _original(self, image_id: int, work: Work) -> tuple[Tensor, Tensor]:
        """The pixels for the pipeline and for the judge; black where the file cannot be read.

        A pipeline that edits gets the whole original, squashed to its square: a crop in shares of the one then shows
        the same of the other (``crop: same`` in training), and a box may lie anywhere. The centre alone would not do:
        training crops the whole original, so only positives would be squashed, and shapes would tell the two apart.
        """
        try:
            image = read_image(self.split.image_path(image_id))
        except UnreadableImage as error:
            work.skipped.append(str(error))
            work.unreadable |= {image_id}
            image = Image.new("RGB", (MIN_SIDE, MIN_SIDE))
        whole = replace(_ANY_SIZE, size=self.size or 1, resize_mode="squash")
        judged = self.preprocess or whole
        if self.size:  # the judge, too, compares what has the same shape
            judged = replace(judged, resize_mode="squash")
        return resize_and_crop(image, whole), resize_and_crop(image, judged)
