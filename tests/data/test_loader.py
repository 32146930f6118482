"""Batches depend on (seed, epoch, sample) alone: not on workers, ranks or where a run was cut."""

import pytest
import torch

from lightning_cr import distributed
from lightning_cr.batch import Batch, unpack
from lightning_cr.data import Scenes
from lightning_cr.data.base import sample_rng
from lightning_cr.data.collate import Collate, TrainingSamples
from lightning_cr.data.loader import EpochSampler, ResumableLoader
from lightning_cr.data.scenes import changed
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError
from lightning_cr.negatives.text import ReplaceAttribute, ReplaceObject, ReplaceRelation, SwapAttributes, TextNegatives
from lightning_cr.scenes import names_held_out

PREPROCESS = Preprocess(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Letters:
    """A tokenizer that keeps the whole text, one id a character."""

    pad_id, shortens = 0, True

    def __call__(self, texts):
        rows = [[ord(c) for c in text][:200] for text in texts]
        return torch.tensor([row + [0] * (200 - len(row)) for row in rows])


def rules():
    return TextNegatives(
        rules={"swap_att": SwapAttributes(), "replace_obj": ReplaceObject(), "replace_rel": ReplaceRelation()},
        lexicon="scenes",
    )


def loader(size=40, batch_size=8, seed=5, workers=0, edits=None, pictures=True):
    source = Scenes(size=size, edits=edits, pictures=pictures)
    train, _ = source.open(None, PREPROCESS, seed)
    negatives = rules()
    kinds = (*negatives.kinds, *(edits or ()))
    return ResumableLoader(
        TrainingSamples(train, negatives, kinds, seed),
        batch_size=batch_size,
        sampler=EpochSampler(size, batch_size, seed),
        collate_fn=Collate(Letters(), kinds, pictures=source.pictured and bool(edits)),
        num_workers=workers,
        drop_last=True,
    )


def same(one: Batch, two: Batch):
    for name, value in vars(one).items():
        other = getattr(two, name)
        if isinstance(value, torch.Tensor):
            assert torch.allclose(value, other, rtol=0, atol=0, equal_nan=True), name  # NaN: not rated
        else:
            assert value == other, name


def test_worker_counts_change_nothing():
    alone, helped = list(loader()), list(loader(workers=2))
    assert len(alone) == 5
    for one, two in zip(alone, helped, strict=True):
        same(one, two)


def test_epochs_and_seeds_change_order_and_scenes():
    train = loader()
    first = list(train)
    train.sampler.set_epoch(1)
    second = list(train)
    assert not torch.equal(first[0].images, second[0].images)
    assert {int(i) for b in first for i in b.sample_ids}.isdisjoint({int(i) for b in second for i in b.sample_ids})
    assert list(EpochSampler(40, 8, 5)) != list(EpochSampler(40, 8, 6))
    assert sorted(EpochSampler(40, 8, 5)) == [(0, index) for index in range(40)]


@pytest.mark.parametrize("done", [1, 3, 5])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_cut_epoch_goes_on_with_the_next_batch(done, workers):
    whole = loader()
    expected = list(whole)
    whole.sampler.set_epoch(1)
    expected += list(whole)

    cut = loader(workers=workers)
    iterator = iter(cut)
    for _ in range(done):
        next(iterator)
    state = cut.state_dict()
    assert state == {"epoch": 0, "batches": done}

    resumed = loader(workers=workers)
    resumed.load_state_dict(state)
    rest = list(resumed)
    if done < 5:
        assert resumed.state_dict() == {"epoch": 0, "batches": 5}
        resumed.sampler.set_epoch(1)
        rest += list(resumed)
    assert len(resumed) == 5, "the length of an epoch must not change by a resume"
    for one, two in zip(expected[done:], rest, strict=True):
        same(one, two)


def test_ranks_share_out_the_batch_of_one_process(monkeypatch):
    one = list(EpochSampler(40, 8, 5))
    parts = []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append(list(EpochSampler(40, 4, 5)))
    assert len(parts[0]) == len(parts[1]) == 20
    for step in range(5):
        together = parts[0][4 * step : 4 * step + 4] + parts[1][4 * step : 4 * step + 4]
        assert together == one[8 * step : 8 * step + 8]


def test_only_negatives_that_exist_are_packed():
    for batch in loader():
        size, exist = len(batch), batch.negative_index >= 0
        assert batch.kinds == ("swap_att", "replace_obj", "replace_rel")
        assert batch.tokens.shape[0] == size + int(exist.sum()) == len(batch.texts)
        assert sorted(batch.negative_index[exist].tolist()) == list(range(size, size + int(exist.sum())))
        assert batch.tokens.shape[1] == max(map(len, batch.texts))
        for row in range(size):
            for slot in range(3):
                if exist[row, slot]:
                    assert batch.texts[batch.negative_index[row, slot]] != batch.texts[row]
        assert batch.negative_image_index.shape == (size, 0)
        assert batch.negative_images.shape[0] == 0
    assert not bool(exist.all()), "some slot must be empty for this test to say anything"


def test_edited_scenes_bring_true_pictures_slot_by_slot():
    edits = ["replace_rel", "add_obj"]
    for batch in loader(edits=edits):
        assert batch.kinds == ("swap_att", "replace_obj", "replace_rel", *edits)
        exist = batch.negative_image_index >= 0
        assert not exist[:, :2].any(), "text rules have no pictures"
        assert torch.equal(exist[:, 4], batch.negative_index[:, 4] >= 0)
        assert int(exist.sum()) == batch.negative_images.shape[0]
        for row, slot in exist.nonzero().tolist():
            picture = batch.negative_images[batch.negative_image_index[row, slot]]
            assert not torch.equal(picture, batch.images[row])
    with pytest.raises(ConfigError, match="Did you mean 'replace_rel'"):
        Scenes(edits=["replace_real"])


@pytest.mark.parametrize("seed", range(4))
def test_the_captions_of_edits_are_the_same_without_their_pictures(seed):
    edits = ["swap_obj", "swap_att", "replace_att", "replace_obj", "replace_rel", "add_obj", "add_att"]
    pictured, plain = (loader(size=24, seed=seed, edits=edits, pictures=with_them) for with_them in (True, False))
    for epoch in range(2):
        for train in (pictured, plain):
            train.sampler.set_epoch(epoch)
        for one, two in zip(pictured, plain, strict=True):
            assert one.negative_images.shape[0] > 8
            assert two.negative_images.shape[0] == two.negative_image_index.shape[1] == 0
            two.negative_images, two.negative_image_index = one.negative_images, one.negative_image_index
            same(one, two)


def test_unpack_gives_exact_zeros_and_no_gradient_to_empty_slots():
    packed = torch.randn(3, 4, requires_grad=True)
    index = torch.tensor([[0, -1], [2, 1]])
    rows, mask = unpack(packed, index)
    assert mask.tolist() == [[True, False], [True, True]]
    assert torch.equal(rows[0, 1], torch.zeros(4))
    rows.sum().backward()
    assert torch.equal(packed.grad, torch.ones(3, 4))
    empty, none = unpack(torch.zeros(0, 4, requires_grad=True), torch.full((2, 0), -1))
    assert empty.shape == (2, 0, 4)
    assert none.shape == (2, 0)


def test_text_rules_of_the_embedded_world_never_name_what_is_held_out():
    train, _ = Scenes(size=400).open(None, PREPROCESS, 0)
    negatives = TextNegatives({"swap_att": SwapAttributes(), "replace_att": ReplaceAttribute()}, lexicon="scenes")
    samples = TrainingSamples(train, negatives, negatives.kinds, seed=0)
    rows = [samples[0, index] for index in range(400)]
    texts = [n.text for row in rows for n in row.negatives if n is not None]
    assert not any(map(names_held_out, texts))
    unfiltered = [negatives(row.sample.annotated, sample_rng(0, 0, i)) for i, row in enumerate(rows)]
    named = [n.text for made in unfiltered for n in made if n is not None and names_held_out(n.text)]
    assert len(named) > 20, "the rules by themselves name such pairs"
    replaced = [row.negatives[1] is not None for row in rows]
    assert sum(replaced) == sum(made[1] is not None for made in unfiltered), "another colour is drawn instead"


def test_the_changed_words_are_whole():
    assert changed("a red ring", "an orange ring") == ("a red", "an orange", 0, 5)
    assert changed("a red ring", "a red ring and a star") == ("", "and a star", 11, 11)


def test_the_embedded_world_refuses_a_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"configs/coco\.yaml"):
        Scenes().open(tmp_path, PREPROCESS, 0)
