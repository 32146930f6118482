"""COCO's layouts: what is found, and what is drawn."""

import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from coco_harness import TRAIN, VAL, annotations, contents, drawn, karpathy, opened, picture, tree
from PIL import Image

from lightning_cr.data.base import sample_rng
from lightning_cr.data.coco import CocoFolder
from lightning_cr.data.collate import TrainingSamples
from lightning_cr.errors import ConfigError, DataError
from lightning_cr.negatives.text import ReplaceObject, TextNegatives
from lightning_cr.negatives.text.tagging import Tagger

DATA = Path(os.environ.get("LIGHTNING_CR_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")


# What is found


@pytest.mark.parametrize("year", ["2017", "2014"])
@pytest.mark.parametrize("name", ["{:012d}.png", "COCO_train2014_{:012d}.png", "{}.webp"])
@pytest.mark.parametrize("images", ["", "images"])
def test_every_year_and_name_form_is_read(tmp_path, year, name, images):
    train, val = opened(tree(tmp_path, year, name, images=tmp_path / images))
    assert contents(train) == TRAIN
    assert contents(val) == VAL
    assert train.image_path(2) == tmp_path / images / f"train{year}" / name.format(2)
    assert (len(train), len(val), train.pictures) == (3, 2, 3)


def test_annotations_of_2017_find_the_pictures_of_2014(tmp_path):
    annotations(tmp_path / "annotations" / "captions_train2017.json", TRAIN)
    annotations(tmp_path / "annotations" / "captions_val2017.json", VAL)
    for image_id, folder in ((1, "train2014"), (2, "val2014"), (3, "train2014"), (4, "val2014"), (5, "train2014")):
        picture(tmp_path / folder / f"COCO_{folder}_{image_id:012d}.png", image_id)
    train, val = opened(tmp_path)
    assert contents(train) == TRAIN
    assert contents(val) == VAL
    assert [int(val.load(image_id)[0, 0, 0]) for image_id in val.image_ids] == [4, 5]


def test_auto_takes_2017_before_2014_and_year_chooses(tmp_path):
    tree(tmp_path, "2017")
    tree(tmp_path, "2014", train={7: ["seven"]}, val={8: ["eight"]})
    assert opened(tmp_path)[0].image_ids == [1, 2, 3]
    train, val = opened(tmp_path, year="2014")
    assert (train.image_ids, val.image_ids) == ([7], [8])


@pytest.mark.parametrize("at", ["dataset_coco.json", "annotations/dataset_coco.json"])
def test_karpathys_file_is_read_where_it_is_what_is_there(tmp_path, at):
    train, val = opened(karpathy(tmp_path, at))
    assert contents(train) == {1: TRAIN[1], 2: TRAIN[2]}
    assert contents(val) == VAL
    assert val.image_path(4) == tmp_path / "val2014" / "COCO_val2014_000000000004.png"


def test_karpathys_file_serves_a_tree_of_2017_when_it_is_named(tmp_path):
    karpathy(tmp_path / "other")
    tree(tmp_path, train=TRAIN | VAL, val={6: ["six"]})
    path = tmp_path / "other" / "dataset_coco.json"
    train, val = opened(tmp_path, train_annotations=str(path))
    assert (train.image_ids, val.image_ids) == ([1, 2], [4, 5])
    train, val = opened(tmp_path, train_annotations=str(path), val_annotations="annotations/captions_val2017.json")
    assert (train.image_ids, val.image_ids) == ([1, 2], [6])


def test_named_files_are_relative_to_the_root_or_absolute(tmp_path):
    tree(tmp_path)
    annotations(tmp_path / "mine" / "some.json", {2: ["mine"]})
    outside = annotations(tmp_path / "mine" / "held.json", {5: ["held"]})
    train, val = opened(tmp_path, train_annotations="mine/some.json", val_annotations=str(outside))
    assert (contents(train), contents(val)) == ({2: ["mine"]}, {5: ["held"]})


def test_the_file_name_of_the_annotations_wins_over_the_number(tmp_path):
    annotations(tmp_path / "annotations" / "captions_train2017.json", {1: ["a dog"]}, file_name="dog.png")
    picture(tmp_path / "train2017" / "dog.png", 50)
    picture(tmp_path / "train2017" / "1.png", 60)
    train, _ = opened(tmp_path)
    assert int(train.load(1)[0, 0, 0]) == 50


def test_without_validation_annotations_the_held_out_split_is_empty(tmp_path, caplog):
    tree(tmp_path)
    (tmp_path / "annotations" / "captions_val2017.json").unlink()
    tree(tmp_path / "x", "2014").joinpath("annotations", "captions_val2014.json").rename(
        tmp_path / "annotations" / "captions_val2014.json"  # it overlaps with train2017, so it is not taken
    )
    with caplog.at_level(logging.WARNING):
        train, val = opened(tmp_path)
    assert (len(train), len(val), val.image_ids) == (3, 0, [])
    assert f"no validation annotations in {tmp_path}" in caplog.text


def test_the_held_out_split_can_be_declined(tmp_path):
    assert len(opened(tree(tmp_path), val_annotations="none")[1]) == 0


def test_pictures_in_both_splits_are_warned_of(tmp_path, caplog):
    tree(tmp_path)
    opened(tmp_path, val_annotations="annotations/captions_train2017.json")
    assert "3 pictures are both in" in caplog.text


# What is drawn


def test_by_image_the_caption_varies_with_the_epoch_and_with_nothing_else(tmp_path):
    train, _ = opened(tree(tmp_path))
    epochs = [[(s.caption, s.sample_id) for s in drawn(train, epoch)] for epoch in range(20)]
    assert epochs == [[(s.caption, s.sample_id) for s in drawn(train, epoch)] for epoch in range(20)]
    assert {epoch[0][0] for epoch in epochs} == set(TRAIN[1])
    for epoch in epochs:
        assert [caption in texts for (caption, _), texts in zip(epoch, TRAIN.values(), strict=True)] == [True] * 3
    assert len({row for epoch in epochs for row in epoch}) == 6  # a sample id names one pair


def test_by_caption_every_annotation_is_a_sample_and_pictures_are_told_apart(tmp_path):
    train, val = opened(tree(tmp_path), sample_by="caption")
    samples = drawn(train)
    assert [s.caption for s in samples] == [text for texts in TRAIN.values() for text in texts]
    assert [s.image_id for s in samples] == [1, 1, 1, 2, 2, 3]
    assert [s.sample_id for s in samples] == list(range(6))
    assert [int(s.image[0, 0, 0]) for s in samples] == [1, 1, 1, 2, 2, 3]
    assert len(val) == 2


@pytest.mark.parametrize("sample_by", ["image", "caption"])
def test_each_sample_is_given_the_annotation_of_its_own_caption(tmp_path, sample_by):
    captions = {1: ["a red dog", "a black cat on a bed"], 2: ["two cows"], 3: ["a bus", "a big train", "a blue car"]}
    split, _ = opened(tree(tmp_path, train=captions), sample_by=sample_by)
    negatives = TextNegatives(rules={"obj": ReplaceObject()})
    corpus = [Tagger()(text) for text in split.texts]
    plain, annotated = (TrainingSamples(split, negatives, ("obj",), 0, given) for given in (None, corpus))
    for key in [(epoch, index) for epoch in range(3) for index in range(len(split))]:
        assert annotated[key].sample.caption == corpus[annotated[key].sample.sample_id].text
        assert annotated[key].negatives == plain[key].negatives


def test_the_held_out_split_is_fixed(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 44, 3), dtype=np.uint8))
    tree(tmp_path)
    for split, image_id in (("train", 1), ("val", 4)):
        noise.save(tmp_path / f"{split}2017" / f"{image_id:012d}.png")
    train, val = opened(tmp_path)
    for epoch in range(3):
        sample = val.sample(0, sample_rng(epoch, epoch, 0), epoch)
        assert (sample.caption, sample.image_id) == ("four a", 4)
        assert torch.equal(sample.image, val.load(4))
        assert val.picture(0).path == val.image_path(4)
    assert sample.image.dtype == torch.uint8
    assert sample.image.shape == (3, 16, 16)
    crops = [train.sample(0, sample_rng(0, epoch, 0), epoch).image for epoch in (0, 0, 1)]
    assert torch.equal(crops[0], crops[1])
    assert not torch.equal(crops[0], crops[2])


def test_an_unreadable_picture_is_replaced_by_the_same_one_each_time_and_named(tmp_path):
    tree(tmp_path)
    broken = tmp_path / "train2017" / "000000000002.png"
    broken.write_bytes(broken.read_bytes()[:60])
    for sample_by in ("image", "caption"):
        train, _ = opened(tmp_path, sample_by=sample_by)
        samples, again = drawn(train), drawn(train)
        assert {s.image_id for s in samples} == {1, 3}
        assert [s.sample_id for s in samples] == [s.sample_id for s in again]
        for sample in samples:
            assert sample.caption in TRAIN[sample.image_id]
            assert int(sample.image[0, 0, 0]) == sample.image_id
        named = [s.skipped for s in samples if s.skipped]
        assert len(named) == (1 if sample_by == "image" else 2)
        assert all(len(lines) == 1 and str(broken) in lines[0] for lines in named)


def test_only_unreadable_pictures_end_in_an_error_and_not_in_a_loop(tmp_path):
    train, val = opened(tree(tmp_path))
    for path in tmp_path.glob("*2017/*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"10 unreadable images in a row: .*train2017.*check the disk$"):
        drawn(train)
    with pytest.raises(DataError, match="empty"):
        val.load(4)


def test_splits_survive_a_spawned_worker(tmp_path):
    train, _ = opened(tree(tmp_path))
    again = pickle.loads(pickle.dumps(train))
    assert [s.caption for s in drawn(again)] == [s.caption for s in drawn(train)]
    assert contents(again) == TRAIN


def test_an_unknown_image_id_is_refused(tmp_path):
    train, _ = opened(tree(tmp_path))
    for image_id in (0, 4, 99):
        with pytest.raises(DataError, match=f"image id {image_id} is not in this split; .* 3 ids"):
            train.load(image_id)


@pytest.mark.parametrize(
    "options", [{"year": "2015"}, {"sample_by": "word"}, {"crop_scale": (0.9, 1.1)}, {"max_skipped": -1}]
)
def test_options_out_of_range(options):
    ((name, value),) = options.items()
    with pytest.raises(ConfigError) as caught:
        CocoFolder(**options)
    assert f"{name} is {value!r}, allowed is" in str(caught.value)
    assert f"--data.source.{name}" in str(caught.value)


def test_the_command_line_reaches_every_option():
    from jsonargparse import ArgumentParser

    from lightning_cr.data.base import Source

    parser = ArgumentParser()
    parser.add_subclass_arguments(Source, "source")
    given = ["--source=lightning_cr.data.coco.CocoFolder", "--source.val_annotations=none", "--source.year=2014"]
    given += ["--source.sample_by=caption", "--source.crop_scale=[0.5,1.0]", "--source.max_skipped=3"]
    source = parser.instantiate(parser.parse_args(given)).source
    assert isinstance(source, CocoFolder)
    assert (source.val_annotations, source.years, source.sample_by) == ("none", ("2014",), "caption")
    assert (source.crop_scale, source.max_skipped) == ((0.5, 1.0), 3)


# Real photographs


@pytest.mark.skipif(not (DATA / "photos").is_dir(), reason=f"no photographs in {DATA}; set LIGHTNING_CR_TEST_DATA")
def test_real_photographs():
    train, val = opened(DATA / "photos", max_skipped=0)
    assert (len(train), len(val)) == (157, 53)
    assert {len(texts) for split in (train, val) for texts in contents(split).values()} == {3}
    assert len(opened(DATA / "photos", sample_by="caption")[0]) == 3 * 157
    epochs = [drawn(train, epoch) for epoch in (0, 1)]
    assert all(not sample.skipped and sample.image.float().std() > 0 for sample in epochs[0])
    changed = sum(a.caption != b.caption for a, b in zip(*epochs, strict=True))
    assert 0.5 < changed / 157 < 0.85  # 2/3 are expected
    again = drawn(train, 0)
    assert [s.caption for s in again] == [s.caption for s in epochs[0]]
    assert all(torch.equal(a.image, b.image) for a, b in zip(again, epochs[0], strict=True))
    assert val.load(val.image_ids[0]).shape == (3, 16, 16)
