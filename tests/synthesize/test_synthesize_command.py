"""The command ``synthesize``: every mode, going on, what is dropped, and what it tells."""

import inspect
import json
import random
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_cr.data import CocoFolder, StoredPictures
from lightning_cr.encoders import EncoderConfig, build_encoder, resize_and_crop, save_weights
from lightning_cr.encoders.base import Preprocess, tokenize
from lightning_cr.images import read_image
from lightning_cr.synthesize import model as model_module
from lightning_cr.synthesize.plan import seed_of

pytestmark = pytest.mark.filterwarnings("ignore:.*SwigPy.*:DeprecationWarning")


def names(store, column="key"):
    return store.rows[column].to_pylist()


def test_each_wrong_caption_gets_one_picture(synthesize, calls):
    store = synthesize()
    rows = store.rows.to_pylist()
    assert len(rows) > 40
    assert len({(row["sample_id"], row["negative"]) for row in rows}) == len(rows)
    assert all(row["negative"] != row["caption"] and row["dropped"] == "" for row in rows)
    assert {store.image(at).size for at in range(len(rows))} == {(32, 32)}
    assert len({store.read(at) for at in range(len(rows))}) == len(rows)
    assert all(len(call["prompt"]) <= 4 for call in calls)
    assert sorted(p for call in calls for p in call["prompt"]) == sorted(row["negative"] for row in rows)
    for call in calls:
        assert call["num_inference_steps"] == 2
        by_prompt = {row["negative"]: row for row in rows}
        for prompt, generator in zip(call["prompt"], call["generator"], strict=True):
            row = by_prompt[prompt]
            assert generator.initial_seed() == row["seed"]
            assert row["seed"] == seed_of(0, row["image_id"], row["sample_id"], row["caption"], prompt)


def test_a_second_run_makes_nothing_again(synthesize, calls):
    first = synthesize()
    files = {path: path.stat().st_mtime_ns for path in first.folder.glob("*/*")}
    assert len(files) > 10
    calls.clear()
    second = synthesize("--data.batch_size", 3, "--data.shard", 5)
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert names(second) == names(first)
    assert f"{len(first)} of them in store already" in synthesize.said


def test_more_rounds_and_another_seed_add(synthesize, calls):
    first = synthesize()
    more = synthesize("--data.rounds", 3)
    assert set(names(first)) < set(names(more))
    made = [prompt for call in calls for prompt in call["prompt"]]
    assert len(made) == len(more)
    assert len(synthesize("--data.seed", 1, "--data.limit", 5)) == len(more) + 5


def test_pictures_do_not_depend_on_their_batch_mates_seeds_or_shards(synthesize):
    one = synthesize("--model.format", "png", store="one")
    other = synthesize("--model.format", "png", "--data.shard", 3, store="other")
    assert set(names(one)) == set(names(other))
    place = {key: at for at, key in enumerate(names(other))}
    for at, key in enumerate(names(one)):
        left, right = (np.asarray(s.image(i), int) for s, i in ((one, at), (other, place[key])))
        assert abs(left - right).max() <= 1  # the batch changes the last bits of a product of matrices


@pytest.mark.parametrize("mode", ["image_to_image", "instruct"])
def test_editing_begins_with_the_original(synthesize, calls, tree, mode):
    for n in range(1, 13):
        Image.new("RGB", (80, 60), (20 * n, 100, 200)).save(tree / "train2017" / f"{n:012d}.jpg")
    store = synthesize(mode=mode)
    assert len(store) > 40
    rows = {row["seed"]: row for row in store.rows.to_pylist()}
    for call in calls:
        for prompt, image, generator in zip(call["prompt"], call["image"], call["generator"], strict=True):
            row = rows[generator.initial_seed()]
            original = read_image(tree / "train2017" / f"{row['image_id']:012d}.jpg")
            assert image.size == (32, 32)
            assert np.abs(np.asarray(image, int) - np.asarray(original.resize((32, 32)), int)).max() <= 3
            instructed = mode == "instruct" and row["kind"] != "swap_obj"
            told = f"change the {row['original']} to {row['replacement']}" if instructed else row["negative"]
            assert prompt == told


def test_weights_of_one_mode_serve_another(synthesize, calls):
    store = synthesize("--model.mode", "image_to_image", "--model.strength", 0.9)
    assert len(store) > 40
    assert {call["strength"] for call in calls} == {0.9}
    assert "image" in calls[0]


def test_inpainting_paints_the_box_of_what_is_replaced(synthesize, calls, tree):
    lines = [{"image_id": n, "phrase": "dogs", "box": [10, 0, 30, 60], "size": [80, 60]} for n in range(1, 5)]
    (tree / "boxes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    store = synthesize("--data.boxes", "boxes.jsonl", mode="inpaint")
    rows = store.rows.to_pylist()
    assert {row["original"] for row in rows} == {"dog"}
    assert {row["image_id"] for row in rows} <= set(range(1, 5))
    assert rows
    left_out = int(synthesize.said.partition("thing is: ")[2].split()[0])
    assert left_out + len(rows) > 40
    mask = np.asarray(calls[0]["mask_image"][0])
    assert mask.shape == (32, 32)
    assert (mask[:, 4:16] == 255).all()  # of the whole picture, squashed
    assert (mask[:, :4] == 0).all()
    assert (mask[:, 16:] == 0).all()
    lines = [line | {"box": [40, 0, 40, 60]} for line in lines]
    (tree / "boxes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    more = synthesize("--data.boxes", "boxes.jsonl", mode="inpaint")
    assert len(more) == 2 * len(rows), "other boxes, other pictures"


def test_blanks_are_dropped_counted_and_not_made_again(synthesize, calls, monkeypatch):
    real = model_module.Synthesis.paint

    def paint(self, batch, places):
        images, blank = real(self, batch, places)
        return images, [True, *blank[1:]]

    monkeypatch.setattr(model_module.Synthesis, "paint", paint)
    store = synthesize()
    dropped = Counter(names(store, "dropped"))
    assert dropped["blank"] == len(calls)
    report = json.loads((store.folder / "report.json").read_text())
    assert sum(row["blank"] for row in report["kinds"].values()) == len(calls)
    calls.clear()
    synthesize()
    assert calls == []


def test_the_safety_checker_and_black_pictures_are_blanks(synthesize, monkeypatch, pipelines):
    from diffusers import StableDiffusionPipeline

    real = StableDiffusionPipeline.__call__

    def flagged(self, **given):
        done = real(self, **given)
        done.nsfw_content_detected = [True] + [False] * (len(done.images) - 1)
        done.images[-1] = Image.new("RGB", done.images[-1].size)
        return done

    flagged.__signature__ = inspect.signature(real)
    monkeypatch.setattr(StableDiffusionPipeline, "__call__", flagged)
    store = synthesize("--data.limit", 8)
    assert names(store, "dropped") == ["blank", "", "", "blank"] * 2


FILTER = ("--model.filter.encoder.name", "photos-tiny", "--model.filter.encoder.pretrained", "")


def test_the_margins_are_those_of_the_formula(synthesize, tree, tmp_path):
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig("photos-tiny", ""))
    save_weights(encoder, tmp_path / "judge.pt")
    weights = ("--model.filter.encoder.pretrained", tmp_path / "judge.pt")
    store = synthesize(*FILTER, *weights, "--model.format", "png", "--data.limit", 12)
    rows = store.rows.to_pylist()

    def image(picture):
        return encoder.encode_image(resize_and_crop(picture, encoder.preprocess)[None])[0]

    def text(caption):
        return encoder.encode_text(tokenize(encoder.tokenizer, [caption]))[0]

    with torch.no_grad():
        for at, row in enumerate(rows):
            original = image(read_image(tree / "train2017" / f"{row['image_id']:012d}.jpg"))
            made, caption, negative = image(store.image(at)), text(row["caption"]), text(row["negative"])
            assert row["text_margin"] == pytest.approx(float(made @ negative - original @ negative), abs=1e-5)
            assert row["image_margin"] == pytest.approx(float(original @ caption - made @ caption), abs=1e-5)
    assert len({round(row[name], 5) for row in rows for name in ("text_margin", "image_margin")}) > 12
    kept = sum(row["text_margin"] > 0 and row["image_margin"] > 0 for row in rows)
    report = json.loads((store.folder / "report.json").read_text())["kinds"].values()
    assert sum(row["kept"] for row in report) == kept
    assert sum(row["below the filter"] for row in report) == len(rows) - kept
    assert not any(names(store, "dropped"))  # the pictures stay: training may ask for other margins


def test_the_filter_drops_where_it_is_told_to(synthesize):
    store = synthesize(*FILTER, "--model.filter.drop", "true", "--model.filter.min_text_margin", 3, "--data.limit", 6)
    rows = store.rows.to_pylist()
    assert [row["dropped"] for row in rows] == ["filter"] * 6
    assert all(row["text_margin"] is not None and row["size"] == 0 for row in rows)
    assert "below the filter" in synthesize.said


def test_long_prompts_are_counted_and_told(synthesize, calls):
    long = "a dog " * 60
    store = synthesize("--model.prompt", long + "{negative}", "--data.limit", 6)
    assert synthesize.said.count("its end is not painted") == 3
    assert "6 prompts are longer than the pipeline reads" in synthesize.said
    assert json.loads((store.folder / "report.json").read_text())["last_run"]["prompts_too_long"] == 6
    synthesize("--data.limit", 6, store="short")
    assert "longer" not in synthesize.said


def test_an_unreadable_original_is_left_to_a_later_run(synthesize, tree, calls):
    broken = tree / "train2017" / f"{3:012d}.jpg"
    before = broken.read_bytes()
    broken.write_bytes(b"no picture")
    store = synthesize(mode="instruct")
    assert 3 not in names(store, "image_id")
    assert not any(names(store, "dropped"))
    assert not [call for call in calls if len(call["prompt"]) > 4]
    not_made = json.loads((store.folder / "report.json").read_text())["last_run"]["not_made"]
    assert f"not made: {not_made}" in synthesize.said
    broken.write_bytes(before)
    again = synthesize(mode="instruct")
    assert names(again, "image_id").count(3) == len(again) - len(store) == not_made > 0
    assert "not made" not in synthesize.said


def test_an_edit_that_changes_nothing_is_the_original(synthesize, tree, monkeypatch):
    """Of a picture that is not square, training must see the same in the positive and in the negative."""
    from diffusers import StableDiffusionInstructPix2PixPipeline as Pipeline

    def same(self, prompt=None, image=None, num_inference_steps=None, generator=None):
        return SimpleNamespace(images=image)

    monkeypatch.setattr(Pipeline, "__call__", same)
    drawn = Image.new("RGB", (640, 480), "black")
    drawn.paste("white", (80, 160, 240, 320))
    for n in range(1, 13):
        drawn.save(tree / "train2017" / f"{n:012d}.jpg")
    store = synthesize("--model.size", 224, "--model.format", "png", mode="instruct")
    pixels = Preprocess(64, (0, 0, 0), (1, 1, 1))
    train, _ = CocoFolder(sample_by="caption", crop_scale=(0.5, 1.0)).open(tree, pixels, 0)
    door = StoredPictures(str(store.folder))
    door.open(train, pixels)

    def edges(picture):
        rows, columns = ((picture.float().mean(0) > 127).any(side).nonzero().flatten() for side in (1, 0))
        return [int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])]

    compared = 0
    for index in range(len(train)):
        sample = train.sample(index, random.Random(index), 0)
        for _, picture in door(sample, random.Random(0)).values():
            assert edges(picture) == pytest.approx(edges(sample.image), abs=1)
            compared += 1
    assert compared > 20


def test_the_same_pipeline_by_another_name_makes_nothing_again(synthesize, calls, pipelines, tmp_path):
    first = synthesize()
    shutil.copytree(pipelines["text_to_image"], tmp_path / "elsewhere")
    calls.clear()
    assert len(synthesize("--model.pipeline", tmp_path / "elsewhere")) == len(first)
    assert calls == []


def test_the_negatives_of_a_file_are_painted(synthesize, tree):
    lines = [
        {
            "image": f"train2017/{n:012d}.jpg",
            "caption": f"A dog {n}.",
            "negatives": [{"text": f"A cat {n}.", "kind": "x"}],
        }
        for n in range(1, 7)
    ]
    (tree / "given.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = ("--data.source", "GivenNegatives", "--data.source.train", "given.jsonl", "--data.negatives.rules", "{}")
    store = synthesize(*source)
    assert sorted(names(store, "negative")) == [f"A cat {n}." for n in range(1, 7)]
    assert set(names(store, "kind")) == {"x"}


def test_the_contact_sheet(synthesize):
    store = synthesize("--model.sheet", 5, *FILTER)
    page = (store.folder / "sheet.html").read_text()
    assert page.count("<mark>") == 5
    assert page.count("data:image/jpeg;base64,") == 10
    chosen = sorted(store.rows.to_pylist(), key=lambda row: row["key"])[:5]
    assert all(row["negative"] in page and f"text margin {row['text_margin']:+.3f}" in page for row in chosen)
    with Image.open(store.folder / "sheet.png") as sheet:
        assert sheet.size[0] > 500


def test_plain_lines_tell_how_far_it_is(synthesize):
    synthesize("--data.limit", 40)
    assert "shard 1/5 (20%)" in synthesize.said
    assert "shard 5/5 (100%)" in synthesize.said
    assert "0:00 left" in synthesize.said


def test_workers_read_the_same(synthesize, calls):
    one = synthesize("--data.limit", 20, mode="instruct", store="one")
    other = synthesize("--data.limit", 20, "--data.num_workers", 1, mode="instruct", store="other")
    assert [one.read(at) for at in range(20)] == [other.read(at) for at in range(20)]


def test_a_later_config_takes_a_rule_out(synthesize, tmp_path):
    (tmp_path / "one.yaml").write_text("data: {negatives: {rules: {a: {class_path: ReplaceAttribute}}}}")
    (tmp_path / "two.yaml").write_text("data: {negatives: {rules: {a: null, b: {class_path: SwapObjects}}}}")
    store = synthesize(configs=("one.yaml", "two.yaml"))
    assert set(names(store, "kind")) == {"b"}


def test_the_held_out_split(synthesize):
    store = synthesize("--data.limit", 4, "--data.split", "val")
    assert set(names(store, "image_id")) == {101}
