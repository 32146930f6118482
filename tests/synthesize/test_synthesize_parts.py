"""Boxes, masks, prompts and the names of pipelines."""

import json

import numpy as np
import pytest
from tiny_pipelines import save

from lightning_cr.data.coco import CocoFolder
from lightning_cr.data.given import GivenNegatives
from lightning_cr.encoders.base import Preprocess
from lightning_cr.negatives.text import ReplaceObject, SwapObjects, TextNegatives
from lightning_cr.synthesize.boxes import Boxes, mask
from lightning_cr.synthesize.plan import SCHEMA, draw
from lightning_cr.synthesize.prompts import Prompts

PIXELS = Preprocess(32, (0, 0, 0), (1, 1, 1))


@pytest.fixture
def boxes(tmp_path):
    names = ["person", "couch", "dog", "dining table"]
    (tmp_path / "instances.json").write_text(
        json.dumps(
            {
                "categories": [{"id": at, "name": name} for at, name in enumerate(names)],
                "images": [{"id": 1, "width": 200, "height": 100}, {"id": 2, "width": 100, "height": 400}],
                "annotations": [
                    {"image_id": 1, "category_id": 2, "bbox": [50, 0, 50, 100]},
                    {"image_id": 1, "category_id": 2, "bbox": [140, 50, 60, 25]},
                    {"image_id": 1, "category_id": 1, "bbox": [0, 0, 50, 100]},
                    {"image_id": 1, "category_id": 0, "bbox": [100, 25, 25, 50]},
                    {"image_id": 2, "category_id": 3, "bbox": [0, 100, 100, 100]},
                ],
            }
        )
    )
    return Boxes(tmp_path / "instances.json")


@pytest.mark.parametrize("words", ["dog", "dogs", "Dogs", "puppies"])
def test_all_boxes_of_a_thing_whatever_it_is_called(boxes, words):
    # of 200 x 100 pixels the square shows 50..150
    assert boxes(1, words) == [(0.0, 0.0, 0.5, 1.0), (0.9, 0.5, 1.0, 0.75)]


def test_a_human_is_a_person(boxes):
    for word in ("man", "women", "person", "people", "boy"):
        assert boxes(1, word) == [(0.5, 0.25, 0.75, 0.75)], word
    assert boxes(1, "robot") == []


def test_what_the_square_does_not_show_has_no_box(boxes):
    assert boxes(1, "sofa") == []
    assert boxes(1, "couch") == []
    assert boxes(2, "dog") == []
    assert boxes(2, "dining table") == [(0.0, 0.0, 1.0, 0.5)]


def test_the_mask_is_white_inside_the_boxes():
    drawn = np.asarray(mask([(0.0, 0.0, 0.5, 1.0), (0.75, 0.5, 1.0, 0.75)], 8))
    expected = np.zeros((8, 8))
    expected[:, :4] = expected[4:6, 6:] = 255
    assert (drawn == expected).all()


def test_prompts_by_kind():
    prompts = Prompts("a photo of {negative}", {"replace_obj": "change the {original} to {replacement}"})
    row = {"caption": "a dog", "negative": "a cat", "original": "dog", "replacement": "cat", "kind": "replace_obj"}
    assert prompts(row) == "change the dog to cat"
    assert prompts(row | {"kind": "swap_obj"}) == "a photo of a cat"


def split_of(tree):
    train, _ = CocoFolder(sample_by="caption").open(tree, PIXELS, 0)
    return train


def test_the_plan_is_the_same_for_every_limit_and_grows_with_rounds(tree):
    door = TextNegatives({"replace_obj": ReplaceObject(), "swap_obj": SwapObjects()})
    plan = draw(split_of(tree), door, None, 0, 1, "recipe")
    assert plan.schema == SCHEMA
    keys = plan["key"].to_pylist()
    assert len(set(keys)) == len(keys) > 24
    assert len(set(plan["replacement"].to_pylist())) > 6  # each caption draws for itself
    assert draw(split_of(tree), door, None, 0, 1, "recipe", limit=7)["key"].to_pylist() == keys[:7]
    more = draw(split_of(tree), door, None, 0, 3, "recipe")["key"].to_pylist()
    assert more[: len(keys)] == keys
    assert len(set(more)) == len(more) > len(keys)
    for other in (draw(split_of(tree), door, None, 0, 1, "other"), draw(split_of(tree), door, None, 1, 1, "recipe")):
        assert not set(other["key"].to_pylist()) & set(keys)
    pictures = draw(split_of(tree), door, None, 0, 1, "other")
    assert pictures["seed"].to_pylist() == plan["seed"].to_pylist()  # the same noise for another pipeline


def test_given_negatives_go_before_the_rules(tree):
    lines = [
        {
            "image": "train2017/000000000001.jpg",
            "caption": "A dog.",
            "negatives": [{"text": "A cow.", "kind": "replace_obj"}],
        }
    ]
    (tree / "given.jsonl").write_text("\n".join(map(json.dumps, lines)))
    train, _ = GivenNegatives("given.jsonl").open(tree, PIXELS, 0)
    plan = draw(train, TextNegatives({"replace_obj": ReplaceObject()}), None, 0, 4, "recipe").to_pylist()
    assert [(row["negative"], row["original"], row["replacement"]) for row in plan] == [("A cow.", "dog.", "cow.")]


def test_a_pipelines_digest_is_of_its_content(tmp_path, monkeypatch):
    pytest.importorskip("diffusers", reason="needs the extra image")
    import torch

    from lightning_cr.synthesize.pipeline import digest, open_pipeline

    def read(folder, mode="auto"):
        return open_pipeline(str(folder), mode, "auto", torch.device("cpu"))

    first = read(save(tmp_path / "first"))
    first.save_pretrained(tmp_path / "again")
    before = digest(first)
    monkeypatch.setattr("transformers.configuration_utils.__version__", "9.9")  # an upgrade makes no other pictures
    assert digest(read(tmp_path / "again")) == digest(first) == before
    assert digest(read(save(tmp_path / "other", seed=1))) != digest(first)
    assert digest(read(tmp_path / "again", "image_to_image")) != digest(first)
    changed = json.loads((tmp_path / "again/scheduler/scheduler_config.json").read_text())
    (tmp_path / "again/scheduler/scheduler_config.json").write_text(json.dumps(changed | {"beta_end": 0.03}))
    assert digest(read(tmp_path / "again")) != digest(first)
