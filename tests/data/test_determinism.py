"""The same (seed, epoch, id) gives the same negatives, whoever makes them: the real data module with learned rules."""

from types import SimpleNamespace

import pytest
import torch
from coco_harness import PREPROCESS, tree
from test_datamodule import Lengths

from lightning_cr.data import CocoFolder
from lightning_cr.data.datamodule import CompositionData
from lightning_cr.negatives.text import (
    AddAttribute,
    ReplaceAttribute,
    ReplaceObject,
    ReplaceRelation,
    SwapAttributes,
    SwapNounPhrases,
    SwapObjects,
    TextNegatives,
)
from tests.conftest import COCO, losses

COLOURS = ("red", "white", "black", "brown", "green")
THINGS = ("cat", "dog", "horse", "cow", "sheep", "bird")
CAPTIONS = {
    number: [
        f"A {COLOURS[number % 5]} {THINGS[number % 6]} behind a small {THINGS[(number + 1) % 6]}.",
        f"Two large {THINGS[number % 6]}s sitting on a {COLOURS[(number + 2) % 5]} couch next to a table.",
        f"A {THINGS[(number + 3) % 6]} and a man riding a {COLOURS[(number + 1) % 5]} bike",
    ]
    for number in range(1, 25)
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tree(tmp_path_factory.mktemp("coco"), train=CAPTIONS)


def opened(root, cache, workers=0, position=None, compiled=True):
    """The training loader of a run."""
    rules = {
        "swap_obj": SwapObjects(),
        "swap_att": SwapAttributes(),
        "swap_np": SwapNounPhrases(),
        "add_att": AddAttribute(),
        "replace_att": ReplaceAttribute(),
        "replace_obj": ReplaceObject(),
        "replace_rel": ReplaceRelation(),
    }
    module = CompositionData(
        CocoFolder(),
        str(root),
        batch_size=3,
        num_workers=workers,
        seed=3,
        negatives=TextNegatives(rules=rules, context="corpus", cache=str(cache), compiled=compiled),
    )
    strategy = SimpleNamespace(barrier=lambda name: None, root_device=torch.device("cpu"))
    encoder = SimpleNamespace(tokenizer=Lengths(), preprocess=PREPROCESS)
    lightning_module = SimpleNamespace(encoder=encoder)
    module.trainer = SimpleNamespace(lightning_module=lightning_module, strategy=strategy, local_rank=0)
    module.setup("fit")
    if position:
        module.load_state_dict(position)
    return module.train_dataloader()


def drawn(loader, epochs):
    made = []
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)
        made += [(batch.texts, batch.negative_index.tolist(), batch.sample_ids.tolist()) for batch in loader]
    return made


@pytest.fixture(scope="module")
def expected(root, tmp_path_factory):
    made = drawn(opened(root, tmp_path_factory.mktemp("first")), range(3))
    assert len(made) == 24
    assert sum(len(texts) - 3 for texts, *_ in made) > 60, "there are negatives"
    assert made[:8] != made[8:16]
    return made


@pytest.mark.filterwarnings("ignore:.*create .* worker processes:UserWarning")
@pytest.mark.parametrize("workers", [1, 2, pytest.param(8, marks=pytest.mark.slow)])
def test_any_number_of_workers_makes_the_same_negatives(root, expected, tmp_path, workers):
    assert drawn(opened(root, tmp_path, workers), range(3)) == expected


def test_a_start_that_finds_what_was_learned_makes_the_same_negatives(root, expected, tmp_path):
    for _ in range(2):
        assert drawn(opened(root, tmp_path), range(3)) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_edits_that_are_weighed_at_each_draw_make_the_same_negatives(root, expected, tmp_path, workers):
    assert drawn(opened(root, tmp_path, workers, compiled=False), range(3)) == expected
    assert not list(tmp_path.glob("*.compiled"))
    opened(root, tmp_path)
    assert len(list(tmp_path.glob("*.compiled"))) == 7, "one a rule"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_goes_on_in_mid_epoch_makes_the_negatives_that_were_to_come(root, expected, tmp_path, workers):
    loader = opened(root, tmp_path, workers, position={"epoch": 1, "batches": 5})
    assert drawn(loader, (1, 2)) == expected[13:]


@pytest.mark.slow
def test_with_learned_rules_a_resumed_fit_goes_on_number_for_number(cli, tmp_path):
    root = tree(tmp_path / "coco", name="{:012d}.jpg", train=CAPTIONS)
    arguments = (*COCO, "--data.root", root, "--model.optimizer.lr", 0, "--trainer.log_every_n_steps", 1)
    assert cli("fit", *arguments, "--name", "whole") == 0
    assert cli("fit", *arguments, "--name", "cut", "--trainer.max_steps", 2) == 0
    checkpoint = tmp_path / "runs/cut/version_0/checkpoints/last.ckpt"
    assert cli("fit", *arguments, "--trainer.max_steps", -1, "--ckpt_path", checkpoint, "--name", "on") == 0
    whole, resumed = losses(tmp_path / "runs/whole/version_0"), losses(tmp_path / "runs/on/version_0")
    assert list(resumed) == [2, 3, 4, 5]
    assert resumed == {step: whole[step] for step in resumed}
