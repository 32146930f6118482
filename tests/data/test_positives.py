"""Another true caption of the image: drawn from (seed, epoch, sample) alone, and without a trace where it is off."""

import pytest
import torch
from coco_harness import PREPROCESS, TRAIN, opened, tree
from test_datamodule import data
from test_loader import Letters, rules, same

from lightning_cr.batch import Batch
from lightning_cr.data import Scenes
from lightning_cr.data.collate import Collate, TrainingSamples
from lightning_cr.data.loader import EpochSampler, ResumableLoader
from lightning_cr.errors import ConfigError
from lightning_cr.negatives.text import TextNegatives
from lightning_cr.scenes.graph import COLOURS, SHAPES


def batches(split, seed=5, epoch=0, positives=True, workers=0, size=8, negatives=None):
    negatives = negatives or rules()
    sampler = EpochSampler(len(split), size, seed)
    sampler.set_epoch(epoch)
    return list(
        ResumableLoader(
            TrainingSamples(split, negatives, negatives.kinds, seed, positives=positives),
            batch_size=size,
            sampler=sampler,
            collate_fn=Collate(Letters(), negatives.kinds),
            num_workers=workers,
        )
    )


def scenes(seed=5, **options):
    return Scenes(size=40, **options).open(None, PREPROCESS, seed)[0]


def pairs(batch: Batch):
    """Caption and positive text of each sample, None where it has none."""
    found = [None if row < 0 else batch.texts[row] for row in batch.positive_index[:, 0].tolist()]
    return list(zip(batch.texts[: len(batch)], found, strict=True))


def test_all_else_is_the_same_without_them_and_costs_nothing():
    for with_them, without in zip(batches(scenes()), batches(scenes(), positives=False), strict=True):
        assert without.positive_index.shape == (8, 0)
        count = len(without.texts)
        assert with_them.texts[:count] == without.texts
        assert len(with_them.texts) == count + int((with_them.positive_index >= 0).sum()) == len(with_them.tokens)
        assert len(without.tokens) == count
        for name in ("images", "negative_index", "concreteness", "sample_ids", "image_ids"):
            one, other = (getattr(batch, name) for batch in (with_them, without))
            assert torch.equal(one.nan_to_num(-1), other.nan_to_num(-1)), name


def test_workers_change_nothing_and_seed_and_epoch_do():
    alone, helped = batches(scenes()), batches(scenes(), workers=2)
    for one, two in zip(alone, helped, strict=True):
        same(one, two)
    held = Scenes(held_out=20).open(None, PREPROCESS, 5)[1]  # the same scenes in every epoch

    def texts(seed, epoch):
        samples = TrainingSamples(held, rules(), rules().kinds, seed, positives=True)
        return [samples[epoch, index].positives for index in range(20)]

    assert texts(5, 0) == texts(5, 0)
    assert texts(5, 0) != texts(5, 1)
    assert texts(5, 0) != texts(6, 0)


def test_in_the_embedded_world_it_says_the_same_in_other_words():
    named = set(COLOURS) | set(SHAPES)

    def things(text):
        return sorted(named.intersection(word.removesuffix("es").removesuffix("s") for word in text.split()))

    found = [pair for batch in batches(scenes()) for pair in pairs(batch)]
    missing = [caption for caption, positive in found if positive is None]
    assert len(missing) <= 2, "a scene of one thing may have a single wording"
    for caption, positive in found:
        if positive is not None:
            assert positive != caption
            assert things(caption.replace("crosses", "cross")) == things(positive.replace("crosses", "cross"))


def coco(tmp_path, captions=TRAIN, **options):
    return opened(tree(tmp_path, train=captions), **options)[0]


@pytest.mark.parametrize("sample_by", ["image", "caption"])
def test_in_coco_it_is_another_annotation_of_the_same_image(tmp_path, sample_by):
    split = coco(tmp_path, sample_by=sample_by)
    seen = set()
    for epoch in range(60):
        samples = TrainingSamples(split, TextNegatives(), (), 0, positives=True)
        for index in range(len(split)):
            row = samples[epoch, index]
            positive = row.positives[0]
            assert row.positives == samples[epoch, index].positives
            others = set(TRAIN[row.sample.image_id]) - {row.sample.caption}
            assert positive in others if others else positive is None
            seen.add((row.sample.caption, positive))
    pairs_of_1 = {(a, b) for a in TRAIN[1] for b in TRAIN[1] if a != b}
    assert pairs_of_1 <= seen, "every other caption comes, in some epoch"


def test_a_caption_that_was_annotated_twice_is_no_other_caption(tmp_path):
    split = coco(tmp_path, {1: ["a dog", "a dog"], 2: ["a cat"]})
    (batch,) = batches(split, size=2, negatives=TextNegatives())
    assert batch.positive_index.tolist() == [[-1], [-1]]
    assert len(batch.tokens) == 2


def test_of_an_unreadable_picture_that_is_replaced_it_is_the_replacements(tmp_path):
    split = coco(tmp_path)
    (tmp_path / "train2017" / "000000000001.png").write_bytes(b"")
    samples = TrainingSamples(split, TextNegatives(), (), 0, positives=True)
    for epoch in range(6):
        row = samples[epoch, 0]
        assert row.sample.image_id != 1
        assert row.positives[0] is None or row.positives[0] in TRAIN[row.sample.image_id]


def test_data_without_another_caption_are_refused_by_a_fit_alone(tmp_path):
    module = data(tree(tmp_path, train={1: ["a"], 2: ["b"]}), positives=1)
    module.setup("test")
    with pytest.raises(ConfigError, match=r"^data\.positives is 1, but no image .* --data\.positives 0$"):
        module.setup("fit")
    data(tree(tmp_path, train={1: ["a"], 2: ["b", "c"]}), positives=1).setup("fit")
