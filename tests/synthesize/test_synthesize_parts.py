"""Boxes, masks, prompts and the names of pipelines."""

import json

import numpy as np
import pyarrow as pa
import pytest
from tiny_pipelines import save

from lightning_cr.data.coco import CocoFolder
from lightning_cr.data.given import GivenNegatives
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError
from lightning_cr.negatives.text import ReplaceObject, SwapObjects, TextNegatives
from lightning_cr.synthesize.boxes import Boxes, mask
from lightning_cr.synthesize.command import _trainer, make_parser
from lightning_cr.synthesize.judge import FilterConfig
from lightning_cr.synthesize.plan import SCHEMA, draw
from lightning_cr.synthesize.prompts import Prompts
from lightning_cr.synthesize.report import counts

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
                    {"image_id": 2, "category_id": 0, "bbox": [100, 0, 20, 100]},
                ],
            }
        )
    )
    return Boxes(tmp_path / "instances.json")


@pytest.mark.parametrize("words", ["dog", "dogs", "Dogs", "puppies"])
def test_all_boxes_of_a_thing_whatever_it_is_called(boxes, words):
    assert boxes(1, words) == [(0.25, 0.0, 0.5, 1.0), (0.7, 0.5, 1.0, 0.75)]


def test_a_human_is_a_person(boxes):
    for word in ("man", "women", "person", "people", "boy"):
        assert boxes(1, word) == [(0.5, 0.25, 0.625, 0.75)], word
    assert boxes(1, "robot") == []


def test_what_the_picture_does_not_show_has_no_box(boxes):
    assert boxes(1, "sofa") == boxes(1, "couch") == [(0.0, 0.0, 0.25, 1.0)]
    assert boxes(2, "dog") == []
    assert boxes(2, "dining table") == [(0.0, 0.25, 1.0, 0.5)]
    assert boxes(2, "person") == []


@pytest.mark.parametrize("box", [[], None, "here", [1, 2, 3], [1, 2, "x", 4], [1, 2, float("inf"), 4], {"x": 1}])
@pytest.mark.parametrize("name", ["instances.json", "boxes.jsonl"])
def test_a_malformed_box_is_told_in_a_line(tmp_path, name, box):
    data = {
        "categories": [{"id": 0, "name": "dog"}],
        "images": [{"id": 1, "width": 200, "height": 100}],
        "annotations": [{"image_id": 1, "category_id": 0, "bbox": box}],
    }
    line = {"image_id": 1, "phrase": "dog", "box": box, "size": [200, 100]}
    (tmp_path / name).write_text(json.dumps(data if name == "instances.json" else line))
    with pytest.raises(DataError, match=f"--data.boxes '.*{name}'") as caught:
        Boxes(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [[0, 100], [200, None], [200], "ab"])
def test_a_malformed_size_is_told_in_a_line(tmp_path, size):
    line = {"image_id": 1, "phrase": "dog", "box": [0, 0, 5, 5], "size": size}
    (tmp_path / "boxes.jsonl").write_text(json.dumps(line))
    with pytest.raises(DataError, match="line 1"):
        Boxes(tmp_path / "boxes.jsonl")


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


def test_pictures_from_before_the_filter_are_not_counted_as_kept():
    rows = pa.table(
        {
            "kind": ["a"] * 4,
            "dropped": ["", "", "", "blank"],
            "text_margin": [None, 0.1, 0.25, None],
            "image_margin": [None, 0.5, 0.5, None],
        }
    )
    found = counts(rows, FilterConfig(min_text_margin=0.25))["a"]
    assert found == {"kept": 1, "blank": 1, "below the filter": 1, "not measured": 1}
    assert counts(rows, None)["a"]["kept"] == 3


def test_no_more_processes_than_cores(monkeypatch):
    from lightning.pytorch.cli import LightningArgumentParser

    monkeypatch.setattr("os.cpu_count", lambda: 1)
    parser = make_parser(LightningArgumentParser)
    defaults = parser.get_defaults(skip_validation=True).trainer.as_dict()
    with pytest.raises(ConfigError, match=r"--trainer\.devices is 2 on .* has 1 cores; use --trainer\.devices 1 or"):
        _trainer(defaults | {"accelerator": "cpu", "devices": 2})  # only builds it
    assert _trainer(defaults | {"accelerator": "cpu", "devices": 1}).num_devices == 1
