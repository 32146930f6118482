"""Image negatives from a store: found by picture and caption, drawn from (seed, epoch, sample) alone."""

import pickle
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from coco_harness import PREPROCESS, TRAIN, picture, tree, write
from PIL import Image
from test_datamodule import data
from test_loader import Letters, same

from lightning_cr.data import CocoFolder, GivenNegatives, SceneEdits, Scenes, StoredPictures
from lightning_cr.data.base import Sample
from lightning_cr.data.collate import Collate, TrainingSamples
from lightning_cr.data.loader import EpochSampler, ResumableLoader
from lightning_cr.encoders.preprocess import random_crop, resize_and_crop
from lightning_cr.errors import ConfigError, DataError
from lightning_cr.images import read_image
from lightning_cr.negatives.image import PictureStore
from lightning_cr.negatives.text import Negative, TextNegatives, TextRule
from tests.picture_stores import encoded, made


class Shouts(TextRule):
    """A rule that always has something, and draws."""

    def __call__(self, caption, kind, rng):
        return Negative(f"{caption.text} {rng.randrange(10**9)}!", kind, "", "!", 0, 0)


RULES = {"replace_att": Shouts(), "swap_obj": Shouts()}


def filled(folder, rows, pictures=None):
    store = PictureStore(folder, create=True)
    pictures = pictures or [None if row.dropped else encoded((row.image_id, 0, 200)) for row in rows]
    store.write(f"unit{len(store.units)}", rows, pictures)
    return str(folder)


def of(image_id, number=0, **more):
    """A row for a caption of coco_harness.TRAIN."""
    key = f"{image_id}-{number}-{more.get('kind', '')}-{more.get('negative', '')}".replace(" ", "_").replace("!", "")
    return made(key, image_id, TRAIN[image_id][number], **({"negative": f"no {image_id} {number}"} | more))


@pytest.fixture
def store(tmp_path):
    """Pictures for the captions of image 1 in one kind, for one caption of image 2 in another."""
    rows = [of(1, number) for number in range(3)] + [of(2, 1, kind="swap_obj", concreteness=None)]
    return filled(tmp_path / "store", rows)


def samples(root, folder, rules=RULES, source=None, seed=5, **options):
    module = data(
        root, source or CocoFolder(sample_by="caption"), negatives=TextNegatives(rules=rules), seed=seed,
        image_negatives=StoredPictures(folder, **options),
    )  # fmt: skip
    module.setup("fit")
    return TrainingSamples(
        module.train, module.negatives, module.kinds, seed, image_negatives=module.image_negatives
    ), module


def slots(row, kinds):
    """Slot to negative text and the mean colour of its picture."""
    return {
        kind: (negative and negative.text, None if picture is None else picture.float().mean((1, 2)).round().tolist())
        for kind, negative, picture in zip(kinds, row.negatives, row.pictures, strict=True)
    }


def test_a_slot_is_filled_by_what_the_store_has_and_else_by_the_rule(tmp_path, store):
    found, module = samples(tree(tmp_path), store)
    assert module.kinds == ("replace_att", "swap_obj")
    for index in range(3):  # image 1
        text, colour = slots(found[0, index], module.kinds)["replace_att"]
        assert text == f"no 1 {index}"
        assert colour == pytest.approx([1, 0, 200], abs=2)  # JPEG
        text, colour = slots(found[0, index], module.kinds)["swap_obj"]
        assert text.startswith(TRAIN[1][index])
        assert colour is None
    assert slots(found[0, 4], module.kinds)["swap_obj"][0] == "no 2 1"
    (negative, *_) = found[0, 0].negatives
    assert negative == Negative("no 1 0", "replace_att", "red", "blue", 2, 5, 0.5)


def test_the_rules_draw_the_same_with_a_store_and_without(tmp_path, store):
    found, module = samples(tree(tmp_path), store)
    plain = TrainingSamples(module.train, module.negatives, module.kinds, 5)
    for index in range(len(plain)):
        with_them, without = found[0, index], plain[0, index]
        assert torch.equal(with_them.sample.image, without.sample.image)
        for one, other, shown in zip(with_them.negatives, without.negatives, with_them.pictures, strict=True):
            assert (one == other) == (shown is None)


def test_a_slot_can_stay_empty(tmp_path, store):
    found, module = samples(tree(tmp_path), store, otherwise="empty")
    assert slots(found[0, 0], module.kinds)["swap_obj"] == (None, None)
    assert slots(found[0, 5], module.kinds) == {"replace_att": (None, None), "swap_obj": (None, None)}
    more, module = samples(tmp_path, store, rules={"own": Shouts()}, otherwise="empty")
    assert module.kinds == ("own", "replace_att", "swap_obj")
    assert slots(more[0, 4], module.kinds)["own"][0].startswith("two b"), "a slot that the store knows nothing of"


def test_only_pictures_that_exist_are_packed_and_every_batch_has_their_slots(tmp_path, store):
    found, module = samples(tree(tmp_path), store)
    module.trainer.strategy = SimpleNamespace(root_device=torch.device("cpu"))
    batch = Collate(Letters(), module.kinds, module.pictured)([found[0, index] for index in range(6)])
    assert batch.negative_image_index.tolist() == [[0, -1], [1, -1], [2, -1], [-1, -1], [-1, 3], [-1, -1]]
    assert batch.negative_images.shape == (4, 3, 16, 16)
    assert batch.concreteness[0, 0] == 0.5
    assert batch.concreteness[4, 1].isnan(), "no rating in the manifest"
    for packed in module.train_dataloader():
        assert packed.negative_image_index.shape == (2, 2)
        assert len(packed.negative_images) == int((packed.negative_image_index >= 0).sum())
    assert module.rated
    assert not samples(tmp_path, filled(tmp_path / "unrated", [of(1, concreteness=None)]))[1].rated
    assert module.examples(2)[0].negative_image_index.shape == (2, 2)


def test_which_of_several_changes_by_epoch_and_not_by_the_order_of_writing(tmp_path):
    rows = [of(1, negative=f"no {number}") for number in range(4)]
    one = filled(tmp_path / "one", rows)
    other = filled(tmp_path / "other", rows[2:])
    filled(tmp_path / "other", rows[:2][::-1])
    first, module = samples(tree(tmp_path), one)
    second, _ = samples(tmp_path, other)
    drawn = [slots(first[epoch, 0], module.kinds)["replace_att"][0] for epoch in range(20)]
    assert set(drawn) == {f"no {number}" for number in range(4)}
    assert drawn == [slots(second[epoch, 0], module.kinds)["replace_att"][0] for epoch in range(20)]


def test_several_slots_of_a_kind_have_different_captions(tmp_path):
    rows = [of(1, negative="no a"), made("again", 1, TRAIN[1][0], "no a", seed=8), of(1, negative="no b")]
    found, module = samples(tree(tmp_path), filled(tmp_path / "store", rows), rules={}, slots=3)
    assert module.kinds == ("replace_att_0", "replace_att_1", "replace_att_2")
    row = found[0, 0]
    assert {negative.text for negative in row.negatives[:2]} == {"no a", "no b"}
    assert [negative.kind for negative in row.negatives[:2]] == list(module.kinds[:2])
    assert row.negatives[2] is row.pictures[2] is None


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_workers_change_nothing(tmp_path, store, way):
    PictureStore(store).merge()
    found, module = samples(tree(tmp_path), store)

    def batches(workers):
        return list(
            ResumableLoader(
                found, batch_size=2, sampler=EpochSampler(6, 2, 5), num_workers=workers,
                collate_fn=Collate(Letters(), module.kinds, module.pictured),
                multiprocessing_context=way if workers else None,
            )
        )  # fmt: skip

    for one, two in zip(batches(0), batches(2), strict=True):
        same(one, two)


def test_a_worker_is_handed_the_path_and_not_the_rows(tmp_path):
    rows = [of(1, negative=f"no {number}") for number in range(500)]
    door = StoredPictures(filled(tmp_path / "store", rows))
    module = data(tree(tmp_path), CocoFolder(sample_by="caption"), image_negatives=door)
    module.setup("fit")
    state = pickle.dumps(door)
    assert len(state) < 2000
    sample = Sample(torch.zeros(3, 2, 2, dtype=torch.uint8), TRAIN[1][0], 0, 1)
    one, other = (each(sample, random.Random(3)) for each in (door, pickle.loads(state)))
    assert one["replace_att"][0] == other["replace_att"][0]


@pytest.mark.parametrize(("crop", "equal"), [("same", True), ("own", False)])
def test_an_edited_picture_is_cropped_as_the_original(tmp_path, crop, equal):
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    root = tree(tmp_path)
    path = root / "train2017/000000000001.png"
    Image.fromarray(noise).save(path)
    folder = filled(tmp_path / "store", [of(1, number) for number in range(3)], [path.read_bytes()] * 3)
    source = CocoFolder(sample_by="caption", crop_scale=(0.3, 0.6))
    found, _ = samples(root, folder, source=source, crop=crop, crop_scale=(0.3, 0.6))
    for epoch in range(3):
        row = found[epoch, 1]
        assert torch.equal(row.sample.image, row.pictures[0]) == equal


def test_an_own_crop_keeps_what_the_originals_do_unless_told(tmp_path, store, monkeypatch):
    asked = []
    monkeypatch.setattr("lightning_cr.data.stored.random_crop", lambda size, rng, scale: asked.append(scale))
    source = CocoFolder(sample_by="caption", crop_scale=(0.3, 0.6))
    samples(tree(tmp_path), store, source=source, crop="own")[0][0, 0]
    samples(tmp_path, store, source=source, crop="own", crop_scale=(0.5, 0.5))[0][0, 0]
    assert asked == [(0.3, 0.6), (0.5, 0.5)]


def test_pictures_in_no_slot_of_the_method_are_warned_of(tmp_path, store, caplog):
    samples(tree(tmp_path), store)
    assert not caplog.messages
    samples(tmp_path, store, rules={"concrete": Shouts()})
    (said,) = caplog.messages
    assert "no slot of the method (concrete) gets a picture" in said
    assert "(replace_att, swap_obj)" in said


def test_a_crop_in_shares_is_the_crop_in_pixels(tmp_path):
    for number in range(50):
        size = (random.Random(number).randrange(4, 300), random.Random(number + 1).randrange(4, 300))
        values = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        image = Image.fromarray(values)
        crop = random_crop(size, random.Random(number), (0.1, 1.0))
        one = resize_and_crop(image, PREPROCESS, random.Random(number), (0.1, 1.0))
        assert torch.equal(one, resize_and_crop(image, PREPROCESS, crop=crop))
        assert all(
            (share * side) == pytest.approx(round(share * side)) for share, side in zip(crop, size * 2, strict=True)
        )
    for crop in ((0.99, 0.99, 1.0, 1.0), (0.0, 0.0, 0.01, 0.01)):
        assert (resize_and_crop(Image.new("RGB", (5, 5), "white"), PREPROCESS, crop=crop) == 255).all()


# ---- what is left out, and what is refused -------------------------------------------------------------------------


def test_margins_are_a_filter_and_what_they_leave_out_is_told(tmp_path, capsys):
    rows = [
        of(1, 0, text_margin=0.2, image_margin=0.2),
        of(1, 1, text_margin=0.0, image_margin=0.2),
        of(1, 2, text_margin=0.2, image_margin=-0.1),
        of(2, 0),
        of(2, 1, dropped="blank"),
        of(3, 0, kind="swap_obj", text_margin=0.1, image_margin=0.1),
    ]
    folder = filled(tmp_path / "store", rows)
    found, module = samples(tree(tmp_path), folder, min_text_margin=0.1, min_image_margin=0.0)
    assert capsys.readouterr().out == (
        f"pictures in {folder}: replace_att 1 of 5 (without 1 blank, 1 no text_margin, 1 text_margin below 0.1,"
        " 1 image_margin below 0); swap_obj 1 of 1; 2 of 6 training captions have one\n"
    )
    pictured = [[picture is not None for picture in found[0, index].pictures] for index in range(6)]
    assert pictured == [[True, False], [False, False], [False, False], [False, False], [False, False], [False, True]]
    _, module = samples(tmp_path, folder, kinds=["swap_obj"], rules={})
    assert module.kinds == ("swap_obj",)
    samples(tmp_path, folder)
    assert "replace_att 4 of 5 (without 1 blank); swap_obj 1 of 1; 5 of 6" in capsys.readouterr().out.splitlines()[-1]


def test_only_the_first_process_tells(tmp_path, store, monkeypatch, capsys):
    monkeypatch.setattr("lightning_cr.data.stored.distributed.rank", lambda: 1)
    samples(tree(tmp_path), store)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"min_text_margin": 0.1}, r"has no picture to train on \(replace_att 0 of 3 \(without 3 no text_margin\)"),
        ({"kinds": ["swap_objects"]}, r"does not have; it has replace_att, swap_obj\. Did you mean 'swap_obj'\?"),
        ({"slots": 0}, r"slots is 0, allowed is 1 or more; set --data\.image_negatives\.slots"),
        ({"crop_scale": (0.0, 1.0)}, r"crop_scale is \(0\.0, 1\.0\), allowed is 0 < least <= most <= 1"),
    ],
)
def test_values_that_cannot_be(tmp_path, store, options, says):
    with pytest.raises(ConfigError, match=says) as caught:
        samples(tree(tmp_path), store, **options)
    assert "\n" not in str(caught.value)


def test_an_empty_store(tmp_path):
    PictureStore(tmp_path / "store", create=True)
    with pytest.raises(ConfigError, match=r"has no picture to train on \(it is empty\)"):
        samples(tree(tmp_path), str(tmp_path / "store"))


def test_a_store_of_other_data_is_refused(tmp_path):
    folder = filled(tmp_path / "store", [made("a", 99, "a zebra")])
    with pytest.raises(
        DataError, match=r"none of the 6 training captions .* such as 'a zebra' of image 99; .*synthesize"
    ):
        samples(tree(tmp_path), folder)


def test_an_evaluation_needs_no_store(tmp_path):
    module = data(tree(tmp_path), image_negatives=StoredPictures(str(tmp_path / "nowhere")))
    for stage in ("validate", "test", "predict"):
        module.setup(stage)
    with pytest.raises(DataError, match="there is no store of pictures"):
        module.setup("fit")


def test_a_damaged_picture_is_passed_over_and_counted(tmp_path, store):
    shard = next((tmp_path / "store/shards").iterdir())
    content = bytearray(shard.read_bytes())
    row = PictureStore(store).rows.slice(1, 1).to_pylist()[0]
    content[row["offset"] + 50] ^= 1
    shard.write_bytes(content)
    found, module = samples(tree(tmp_path), store)
    spoilt = found[0, 1]
    assert spoilt.pictures[0] is None
    assert spoilt.negatives[0].text.startswith("one b"), "the rule's"
    assert "is damaged at 1-1" in spoilt.sample.skipped[0]
    batch = Collate(Letters(), module.kinds, True)([found[0, index] for index in range(3)])
    module.on_before_batch_transfer(batch, 0)
    assert len(module.skipped) == 1
    module.source.max_skipped = 0
    with pytest.raises(DataError, match="1 inputs cannot be used"):
        module.on_before_batch_transfer(batch, 0)


# ---- with every source ---------------------------------------------------------------------------------------------


def test_over_given_negatives(tmp_path):
    for number in (1, 2):
        picture(tmp_path / f"train2017/{number:012d}.png", number)
    rows = [
        {
            "image": f"train2017/{number:012d}.png",
            "caption": f"cap {number}",
            "negatives": {"swap_obj": f"given {number}"},
        }
        for number in (1, 2)
    ]
    write(tmp_path / "t.json", rows)
    train, _ = GivenNegatives("t.json").open(tmp_path, PREPROCESS, 0)
    folder = filled(
        tmp_path / "store", [made("a", train.image_ids[0], "cap 1", "stored 1", kind="swap_obj", sample_id=0)]
    )
    write(tmp_path / "turned.json", rows[::-1])
    turned, module = samples(tmp_path, folder, source=GivenNegatives("turned.json", val="t.json"))
    assert slots(turned[0, 1], module.kinds)["swap_obj"][0] == "stored 1", "in another order too"
    for otherwise, expected in (("rule", ("given 2", None)), ("empty", (None, None))):
        found, module = samples(
            tmp_path,
            folder,
            source=GivenNegatives("t.json", val="t.json"),
            rules={"swap_obj": Shouts()},
            otherwise=otherwise,
        )
        assert slots(found[0, 0], module.kinds)["swap_obj"][0] == "stored 1"
        assert found[0, 0].pictures[0] is not None
        assert slots(found[0, 1], module.kinds)["swap_obj"] == expected


def test_over_the_embedded_world(tmp_path):
    train = Scenes(size=8, edits=["swap_att"]).open(None, PREPROCESS, 5)[0]
    caption = TrainingSamples(train, TextNegatives(), (), 5)[0, 3].sample.caption
    folder = filled(tmp_path / "store", [made("a", 3, caption)])
    found, module = samples(None, folder, source=Scenes(size=8, edits=["swap_att"]), rules={})
    assert module.kinds == ("swap_att", "replace_att")
    assert slots(found[0, 3], module.kinds)["replace_att"][0] == "a blue ring"
    assert slots(found[0, 4], module.kinds)["replace_att"] == (None, None)
    pictured = sum(found[0, index].pictures[0] is not None for index in range(8))
    assert pictured == sum(found[0, index].negatives[0] is not None for index in range(8)) > 0


def test_edited_scenes_are_the_same_door(tmp_path):
    door = SceneEdits(["replace_obj", "swap_att"])
    module = data(None, Scenes(size=8), image_negatives=door)
    module.setup("fit")
    assert (module.kinds, module.pictured) == (("replace_obj", "swap_att"), True)
    found = TrainingSamples(module.train, module.negatives, module.kinds, 0, image_negatives=door)
    for index in range(8):
        for negative, shown in zip(found[0, index].negatives, found[0, index].pictures, strict=True):
            assert (negative is None) == (shown is None)
    assert all(found[0, index].negatives[0] is not None for index in range(8))
    with pytest.raises(ConfigError, match="the data are not the embedded world"):
        data(tree(tmp_path), image_negatives=door).setup("fit")


def test_read_image_of_bytes_is_that_of_the_file(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded((1, 2, 3)))
    assert read_image(path).tobytes() == read_image("here", path.read_bytes()).tobytes()
    with pytest.raises(DataError, match=r"cannot use the image here: the file is empty"):
        read_image("here", b"")
