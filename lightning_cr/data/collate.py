"""From samples to a :class:`Batch`: negatives made, packed, tokenised together and cut to the longest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_cr.batch import Batch
from lightning_cr.data.base import ImageNegatives, Pair, Sample, Split, picture_rng, positive_rng, sample_rng
from lightning_cr.encoders.base import Tokenizer, tokenize
from lightning_cr.negatives.text import TextNegatives
from lightning_cr.negatives.text.base import AnnotatedCaption, Negative

__all__ = ["Collate", "Prepared", "TrainingSamples"]


class Prepared:
    """A sample with its negatives, slot by slot.

    Attributes:
        sample: The pair of image and caption.
        negatives: K entries, None where the caption gave no occasion.
        pictures: K entries: the true picture of the negative, None where there is none.
        positives: P entries: another true caption of the image, None where it has no other.
    """

    def __init__(
        self,
        sample: Sample,
        negatives: list[Negative | None],
        pictures: list[Tensor | None],
        positives: Sequence[str | None] = (),
    ) -> None:
        self.sample = sample
        self.negatives = negatives
        self.pictures = pictures
        self.positives = tuple(positives)


class TrainingSamples(Dataset[Prepared]):
    """The samples of a split with their negatives, drawn from (seed, epoch, index) alone.

    Args:
        split: Where the pairs come from.
        negatives: The text rules.
        kinds: The slots, in order.
        seed: Of the run.
        corpus: The split's captions as they were annotated once, by sample id; None has the tagger asked each time.
        positives: Whether to draw another true caption of each image. It has a generator of its own, so that all else
            is the same with it and without.
        image_negatives: Fills slots with false captions and their pictures, before the source and the rules do.
    """

    def __init__(
        self,
        split: Split,
        negatives: TextNegatives,
        kinds: tuple[str, ...],
        seed: int,
        corpus: Sequence[AnnotatedCaption] | None = None,
        positives: bool = False,
        image_negatives: ImageNegatives | None = None,
    ) -> None:
        self.split = split
        self.negatives = negatives
        self.kinds = kinds
        self.seed = seed
        self.corpus = corpus
        self.positives = positives
        self.image_negatives = image_negatives

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, key: tuple[int, int]) -> Prepared:
        """The sample at a key ``(epoch, index)``, which :class:`lightning_cr.data.loader.EpochSampler` gives."""
        epoch, index = key
        rng = sample_rng(self.seed, epoch, index)
        sample = self.split.sample(index, rng, epoch)
        own: dict[str, Pair | None] = dict(sample.negatives or {})
        if self.image_negatives is not None:
            own |= self.image_negatives(sample, picture_rng(self.seed, epoch, index))
        annotated = sample.annotated or (self.corpus[sample.sample_id] if self.corpus else sample.caption)
        made = self.negatives(annotated, rng, self.split.accepts)
        ruled = dict(zip(self.negatives.kinds, made, strict=True))
        filled = {kind: pair or (None, None) for kind, pair in own.items()}
        negatives, pictures = [], []
        for kind in self.kinds:
            negative, picture = filled[kind] if kind in filled else (ruled.get(kind), None)
            negatives.append(negative)
            pictures.append(picture)
        if not self.positives:
            return Prepared(sample, negatives, pictures)
        drawn = sample.another(positive_rng(self.seed, epoch, index)) if sample.another else None
        return Prepared(sample, negatives, pictures, (drawn,))


class Collate:
    """Packs samples into a :class:`Batch`.

    Args:
        tokenizer: Of the text tower.
        kinds: The slots, in order.
        pictures: Whether the data bring pictures of negatives; then J is K in every batch, also where none exists, so
            that all ranks agree on it.
    """

    def __init__(self, tokenizer: Tokenizer, kinds: tuple[str, ...], pictures: bool = False) -> None:
        self.tokenizer = tokenizer
        self.kinds = kinds
        self.pictures = pictures

    def __call__(self, rows: Sequence[Prepared]) -> Batch:
        """Packs what exists; an empty slot gets the index -1."""
        samples = [row.sample for row in rows]
        texts = [sample.caption for sample in samples]
        pictures: list[Tensor] = []
        size = (len(rows), len(self.kinds))
        text_index = torch.full(size, -1, dtype=torch.long)
        picture_index = torch.full(size, -1, dtype=torch.long)
        concreteness = torch.full(size, torch.nan)
        for i, row in enumerate(rows):
            for k, (negative, picture) in enumerate(zip(row.negatives, row.pictures, strict=True)):
                if negative is None:
                    continue
                text_index[i, k] = len(texts)
                if negative.concreteness is not None:
                    concreteness[i, k] = negative.concreteness
                texts.append(negative.text)
                if picture is not None:
                    picture_index[i, k] = len(pictures)
                    pictures.append(picture)
        positive_index = torch.full((len(rows), len(rows[0].positives)), -1, dtype=torch.long)
        for i, row in enumerate(rows):
            for p, positive in enumerate(row.positives):
                if positive is not None:
                    positive_index[i, p] = len(texts)
                    texts.append(positive)
        images = torch.stack([sample.image for sample in samples])
        return Batch(
            images=images,
            tokens=tokenize(self.tokenizer, texts),
            negative_index=text_index,
            kinds=self.kinds,
            concreteness=concreteness,
            negative_images=torch.stack(pictures) if pictures else images[:0],
            negative_image_index=picture_index if self.pictures else picture_index[:, :0],
            sample_ids=torch.tensor([sample.sample_id for sample in samples]),
            image_ids=torch.tensor([sample.image_id for sample in samples]),
            texts=texts,
            skipped=[line for sample in samples for line in sample.skipped],
            positive_index=positive_index,
        )
