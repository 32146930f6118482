"""Against forgetting: distillation from the start, averaged weights, weights between start and end."""

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import yaml

from lightning_cr.callbacks import AverageWeights, LastCheckpoint
from lightning_cr.errors import ConfigError
from tests.conftest import losses, tiny

ARGUMENTS = tiny("negclip")
AVERAGE = ("--trainer.callbacks+=AverageWeights", "--trainer.callbacks.decay=0.8")
RUN = "runs/negclip/version_0"
KEEP = """
model:
  losses:
    keep: {class_path: DistillationLoss, init_args: {weight: 3.0}}
    words: {class_path: TextGroundedLoss}
"""


@pytest.fixture
def keep(tmp_path):
    """Arguments of a run that distils from its start."""
    (tmp_path / "keep.yaml").write_text(KEEP)
    return (*ARGUMENTS, "--config", tmp_path / "keep.yaml")


@pytest.fixture
def every_step(monkeypatch, tmp_path):
    """A folder where each last.ckpt of a run with --save_every 1 is kept under its step."""
    save = LastCheckpoint._save

    def kept(self, trainer):
        save(self, trainer)
        shutil.copy(self._path, tmp_path / f"{trainer.global_step}.ckpt")

    monkeypatch.setattr(LastCheckpoint, "_save", kept)
    return tmp_path


def column(folder, name):
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def load(path):
    return torch.load(path, weights_only=True)


def scores(folder, name="results.json"):
    return json.loads((folder / name).read_text())


def test_distillation_starts_at_nothing_and_holds_the_features_back(cli, keep, tmp_path):
    assert cli("fit", *keep, "--data.source.size", 64) == 0
    drift = column(tmp_path / RUN, "train/keep/drift")
    assert drift[0] == pytest.approx(0.0, abs=1e-6)
    assert drift[-1] > 1e-3
    flags = ("--model.losses.keep.weight", 300, "--name", "held")
    assert cli("fit", *keep, "--data.source.size", 64, *flags) == 0
    assert column(tmp_path / "runs/held/version_0", "train/keep/drift")[-1] < drift[-1]


def test_the_start_is_in_no_checkpoint_and_the_same_after_a_resume(cli, keep, every_step):
    options = (*keep, "--trainer.max_epochs", 2, "--save_every", 1)
    assert cli("fit", *options) == 0
    whole = losses(every_step / RUN)
    saved = load(every_step / "3.ckpt")
    assert not any("initial" in name for name in saved["state_dict"])
    assert cli("fit", *options, "--ckpt_path", every_step / "3.ckpt", "--name", "on") == 0
    assert losses(every_step / "runs/on/version_0") == {step: loss for step, loss in whole.items() if step >= 3}


@pytest.mark.parametrize("how", ["gone", "other"])
def test_a_start_that_cannot_be_had_again_is_told(cli, keep, every_step, capsys, how):
    assert cli("fit", *ARGUMENTS) == 0
    start = (every_step / RUN / "checkpoints/last.ckpt").rename(every_step / "start.ckpt")
    options = (*keep, "--model.encoder.pretrained", start, "--save_every", 1, "--name", "kept")
    assert cli("fit", *options) == 0
    if how == "gone":
        start.unlink()
    else:
        shutil.copy(every_step / "runs/kept/version_0/checkpoints/last.ckpt", start)
    capsys.readouterr()
    assert cli("fit", *options, "--ckpt_path", every_step / "3.ckpt") == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the weights that the run began with are needed, but ")
    assert "start.ckpt" in said
    assert said.count("\n") == 1


def test_chunks_give_the_same_start(cli, keep, tmp_path):
    for name, size in (("whole", 0), ("chunks", 3)):
        assert cli("fit", *keep, "--model.encoder.micro_batch_size", size, "--name", name) == 0
    whole, chunks = (losses(tmp_path / "runs" / name / "version_0") for name in ("whole", "chunks"))
    assert chunks == pytest.approx(whole, rel=1e-4)


def test_the_average_is_measured_kept_and_given_away(cli, every_step, tmp_path):
    assert cli("fit", *ARGUMENTS, *AVERAGE, "--save_every", 1, "--trainer.max_epochs", 2) == 0
    run = tmp_path / RUN
    steps = [load(every_step / f"{step}.ckpt") for step in (1, 2, 3)]
    name = next(name for name in steps[0]["current_model_state"] if name.endswith("attn.in_proj_weight"))
    average = steps[0]["current_model_state"][name]
    for saved in steps[1:]:
        average = 0.8 * average + 0.2 * saved["current_model_state"][name]
        torch.testing.assert_close(saved["state_dict"][name], average)
    last = load(run / "checkpoints/last.ckpt")
    assert not torch.equal(last["state_dict"][name], last["current_model_state"][name])
    assert all(name.startswith("encoder.") for name in last["current_model_state"])
    after = scores(run)["after"]
    assert cli("test", "--ckpt_path", run / "checkpoints/last.ckpt", "--name", "again") == 0
    assert scores(tmp_path / "runs/again/version_0", "test_results.json")["scores"] == after
    best = load(run / "checkpoints/best.ckpt")
    (history,) = (h["scores"] for h in scores(run)["history"] if h["step"] == best["global_step"])
    weights = ("--config", run / "config.yaml", "--model.encoder.pretrained", run / "checkpoints/best.ckpt")
    assert cli("validate", *weights, "--name", "best") == 0
    assert scores(tmp_path / "runs/best/version_0", "validate_results.json")["scores"] == history


def test_a_run_with_an_average_goes_on_exactly(cli, every_step, capsys):
    options = (*ARGUMENTS, "--trainer.max_epochs", 2, "--save_every", 1)
    assert cli("fit", *options, *AVERAGE) == 0
    whole, end = losses(every_step / RUN), load(every_step / RUN / "checkpoints/last.ckpt")
    for cut in (3, 5):  # before and after a validation, which exchanges the weights
        on = ("--ckpt_path", every_step / f"{cut}.ckpt", "--name", f"on{cut}")
        assert cli("fit", *options, *AVERAGE, *on) == 0
        run = every_step / f"runs/on{cut}/version_0"
        assert losses(run) == {step: loss for step, loss in whole.items() if step >= cut}
        resumed = load(run / "checkpoints/last.ckpt")
        for key in ("state_dict", "current_model_state"):
            for name, value in end[key].items():
                assert not isinstance(value, torch.Tensor) or torch.equal(value, resumed[key][name]), (key, name)
    for other, said in (((), "averaged its weights"), ((*AVERAGE[:1], "--trainer.callbacks.decay=0.5"), "decay 0.8")):
        capsys.readouterr()
        assert cli("fit", *options, *other, "--ckpt_path", every_step / "3.ckpt") == 1
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_an_average_begins_at_the_end_of_a_run_that_had_none(cli, every_step):
    options = (*ARGUMENTS, "--trainer.max_epochs", 2, "--save_every", 1)
    assert cli("fit", *options) == 0
    whole = losses(every_step / RUN)
    assert cli("fit", *options, *AVERAGE, "--ckpt_path", every_step / "3.ckpt", "--name", "on") == 0
    assert losses(every_step / "runs/on/version_0") == {step: loss for step, loss in whole.items() if step >= 3}


def test_an_average_that_cannot_be_is_told_in_a_line(cli, capsys):
    assert cli("fit", *ARGUMENTS, "--trainer.callbacks+=AverageWeight") == 1
    assert "no class 'AverageWeight'. Did you mean 'AverageWeights'?" in capsys.readouterr().err
    assert cli("fit", *ARGUMENTS, "--trainer.callbacks+=AverageWeights", "--trainer.callbacks.decay=1.5") == 1
    assert "AverageWeights: decay is 1.5; it must be 0 or more and below 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"decay": 1.0}, "decay is 1.0; it must be 0 or more and below 1, such as 0.99"),
        ({"decay": -0.1}, "decay is -0.1; it must be 0 or more"),
        ({"every": 0}, "every is 0; it must be 1 or more, such as 1 for each step"),
        ({"start": -1}, "start is -1; it must be 0 or more, such as 0 for the whole run"),
    ],
)
def test_options_of_an_average_out_of_range(options, said):
    with pytest.raises(ConfigError, match=f"^AverageWeights: {said}"):
        AverageWeights(**options).setup(None, None, "fit")


@pytest.mark.parametrize("pretrained", ["base", ""])
def test_between_start_and_end(cli, tmp_path, capsys, pretrained):
    options = (*ARGUMENTS, "--model.encoder.pretrained", pretrained, "--data.source.size", 64)
    assert cli("fit", *options) == 0
    run = tmp_path / RUN
    last = run / "checkpoints/last.ckpt"
    capsys.readouterr()
    given = ("--alphas", "[0, 0.5, 1]", "--save", "[0.5]", "--name", "between")
    assert cli("interpolate", "--ckpt_path", last, *given) == 0
    shown = capsys.readouterr().out
    assert shown.index("replace_obj") < shown.index("retrieval/i2t_r@1")
    folder = tmp_path / "runs/between/version_0"
    found = scores(folder, "interpolation.json")["alphas"]
    assert found["0"] == scores(run)["before"]
    assert found["1"] == scores(run)["after"]
    half = folder / "interpolated_0.5.pt"
    assert cli("validate", "--config", run / "config.yaml", "--model.encoder.pretrained", half, "--name", "half") == 0
    assert scores(tmp_path / "runs/half/version_0", "validate_results.json")["scores"] == found["0.5"]
    if pretrained:
        start, end = (load(path)["state_dict"] for path in (half, last))
        name = "logit_scale"
        assert start[name] != end[f"encoder.model.{name}"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "interpolate needs a run: --ckpt_path"),
        (("--ckpt_path", "none.ckpt"), "'none.ckpt' is no file"),
        (("--ckpt_path", "last.ckpt", "--alphas", "[0, 2]"), "alpha is 2.0; it must be between 0"),
    ],
)
def test_an_interpolation_that_cannot_be_is_told_in_a_line(cli, tmp_path, capsys, given, said):
    if "last.ckpt" in given:
        assert cli("fit", *ARGUMENTS, "--trainer.max_steps", 1) == 0
        (tmp_path / RUN / "checkpoints/last.ckpt").rename(tmp_path / "last.ckpt")
        capsys.readouterr()
    assert cli("interpolate", *given) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_two_processes_keep_average_and_interpolate_as_one(cli, keep, tmp_path):
    shared = (*keep, *AVERAGE, "--data.source.size", 48, "--data.eval_batch_size", 16)
    two = ("--trainer.devices", 2, "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu", "--name", "two")
    assert cli("fit", *shared, "--data.batch_size", 12, "--name", "one") == 0
    last = tmp_path / "runs/two/version_0/checkpoints/last.ckpt"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for command in (
        ("fit", *shared, "--data.batch_size", 6, *two),
        ("interpolate", "--ckpt_path", last, "--alphas", "[0, 1]", "--save", "[1]", *two),
    ):
        given = [sys.executable, "-m", "lightning_cr", *map(str, command)]
        done = subprocess.run(given, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    one, both = (losses(tmp_path / "runs" / name / "version_0") for name in ("one", "two"))
    assert both == pytest.approx(one, rel=2e-5)
    found = scores(tmp_path / "runs/two/version_1", "interpolation.json")["alphas"]
    assert found["0"] == scores(tmp_path / "runs/two/version_0")["before"]
    assert found["1"] == scores(tmp_path / "runs/two/version_0")["after"]


def test_retrieval_stands_below_composition_whatever_benchmark_brings_it(cli, tmp_path, capsys):
    both = {
        "mine": {"class_path": "HeldOutRetrieval"},
        "scenes": {"class_path": "ScenesBenchmark", "init_args": {"n": 6}},
    }
    assert cli("fit", *ARGUMENTS, "--data.benchmarks", yaml.safe_dump(both, default_flow_style=True)) == 0
    names = [
        line.split()[0] for line in capsys.readouterr().out.splitlines() if "/i2t_r@1 " in line or "mean of" in line
    ]
    assert names[0] == "mean"
    assert sorted(names[1:]) == ["retrieval/i2t_r@1", "scenes/retrieval/i2t_r@1"]
