"""A run that was cut goes on as if it had not been: number for number, and never with silently changed values."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from tests.conftest import losses, tiny

ARGUMENTS = (*tiny("ahnpl"), "--data.source.size", "64")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def start(folder, *arguments):
    command = [sys.executable, "-m", "lightning_cr", "fit", *map(str, (*ARGUMENTS, *arguments))]
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(path, process):
    deadline = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_in_mid_epoch_and_resumed_the_losses_go_on_number_for_number(cli, tmp_path, workers):
    epochs = ("--trainer.max_epochs", 3, "--save_every", 3)
    assert cli("fit", *ARGUMENTS, *epochs, "--name", "whole") == 0
    expected = losses(tmp_path / "runs/whole/version_0")
    assert list(expected) == list(range(24))

    process = start(tmp_path, *epochs, "--name", "cut")
    checkpoint = tmp_path / "runs/cut/version_0/checkpoints/last.ckpt"
    wait_for(checkpoint, process)
    process.kill()  # SIGKILL: nothing can be tidied up
    process.communicate()

    assert cli("fit", *ARGUMENTS, *epochs, "--data.num_workers", workers, "--ckpt_path", checkpoint) == 0
    resumed = losses(tmp_path / "runs/ahnpl/version_0")
    first = min(resumed)
    assert 3 <= first < 24
    assert first % 8 != 0, "the run must have been cut inside an epoch"
    assert resumed == {step: loss for step, loss in expected.items() if step >= first}


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(cli, tmp_path):
    epochs = ("--trainer.max_epochs", 40, "--save_every", 1)
    process = start(tmp_path, *epochs, "--name", "cut")
    checkpoint = tmp_path / "runs/cut/version_0/checkpoints/last.ckpt"
    wait_for(checkpoint, process)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "--ckpt_path" in said
    assert "last.ckpt" in said
    assert checkpoint.exists()


def test_a_changed_value_is_named_instead_of_ignored(cli, tmp_path, capsys):
    assert cli("fit", *ARGUMENTS, "--trainer.max_steps", 2) == 0
    checkpoint = tmp_path / "runs/ahnpl/version_0/checkpoints/last.ckpt"
    capsys.readouterr()
    changed = ("--model.losses.margin.weight", 0.9, "--data.batch_size", 16)
    assert cli("fit", *ARGUMENTS, *changed, "--ckpt_path", checkpoint) == 1
    said = capsys.readouterr().err
    assert "data.batch_size was 8, now 16" in said
    assert "model.losses.margin.init_args.weight was 0.2, now 0.9" in said
    assert "--model.encoder.pretrained" in said
    assert said.count("\n") == 1


def test_the_runs_own_config_goes_on_with_it(cli, tmp_path):
    assert cli("fit", *ARGUMENTS) == 0
    run = tmp_path / "runs/ahnpl/version_0"
    arguments = ("--config", run / "config.yaml", "--ckpt_path", run / "checkpoints/last.ckpt")
    assert cli("fit", *arguments, "--trainer.max_epochs", 2) == 0
    assert list(losses(tmp_path / "runs/ahnpl/version_1")) == list(range(8, 16))


def test_a_run_that_max_steps_cut_goes_on_with_more_steps(cli, tmp_path):
    still = (*ARGUMENTS, "--model.optimizer.lr", 0)  # the schedule depends on the number of steps
    assert cli("fit", *still, "--name", "whole") == 0
    assert cli("fit", *still, "--name", "cut", "--trainer.max_steps", 3) == 0
    checkpoint = tmp_path / "runs/cut/version_0/checkpoints/last.ckpt"
    assert cli("fit", *still, "--name", "on", "--trainer.max_steps", 6, "--ckpt_path", checkpoint) == 0
    whole, resumed = losses(tmp_path / "runs/whole/version_0"), losses(tmp_path / "runs/on/version_0")
    assert resumed == {step: whole[step] for step in (3, 4, 5)}


@pytest.mark.parametrize("kind", ["missing", "empty", "foreign"])
def test_what_is_no_checkpoint_is_said_in_one_line(cli, tmp_path, capsys, kind):
    path = tmp_path / "some.ckpt"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "foreign":
        torch.save({"state_dict": {}}, path)
    assert cli("fit", *ARGUMENTS, "--ckpt_path", path) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "some.ckpt" in said


def test_a_checkpoint_of_another_model_is_refused(cli, tmp_path, capsys):
    assert cli("fit", *ARGUMENTS, "--trainer.max_steps", 1) == 0
    checkpoint = tmp_path / "runs/ahnpl/version_0/checkpoints/last.ckpt"
    capsys.readouterr()
    other = ("--model.encoder.name", "photos-tiny")
    for flag in ("--model.encoder.pretrained", "--ckpt_path"):
        assert cli("fit", *ARGUMENTS, *other, flag, checkpoint) == 1
        said = capsys.readouterr().err
        assert "scenes-tiny" in said
        assert said.count("\n") == 1


def test_the_weights_that_a_run_began_with_may_be_gone(cli, tmp_path):
    assert cli("fit", *ARGUMENTS, "--trainer.max_steps", 1) == 0
    start = (tmp_path / "runs/ahnpl/version_0/checkpoints/last.ckpt").rename(tmp_path / "start.ckpt")
    began = (*ARGUMENTS, "--model.encoder.pretrained", start, "--model.encoder.freeze_image", "true")
    epochs = ("--trainer.max_epochs", 2, "--model.optimizer.lr", 0)
    assert cli("fit", *began, *epochs, "--name", "whole") == 0
    assert cli("fit", *began, *epochs, "--name", "cut", "--trainer.max_steps", 8) == 0
    start.unlink()
    cut = tmp_path / "runs/cut/version_0"
    on = (*epochs, "--trainer.max_steps", -1, "--ckpt_path", cut / "checkpoints/last.ckpt")
    assert cli("fit", "--config", cut / "config.yaml", *on, "--name", "on") == 0
    whole, resumed = losses(tmp_path / "runs/whole/version_0"), losses(tmp_path / "runs/on/version_0")
    assert resumed == {step: loss for step, loss in whole.items() if step >= 8}
    config = yaml.safe_load((tmp_path / "runs/on/version_0/config.yaml").read_text())
    assert config["model"]["encoder"]["pretrained"] == str(start)
    saved = torch.load(tmp_path / "runs/on/version_0/checkpoints/last.ckpt", weights_only=True)
    assert saved["config"]["model"]["encoder"]["pretrained"] == str(start)

    assert cli("fit", "--config", cut / "config.yaml", *on, "--model.encoder.pretrained", "other.pt") == 0


@pytest.fixture
def best(cli, tmp_path):
    """Goes on with a run whose best score was this; gives the old best.ckpt and the new one."""
    assert cli("fit", *ARGUMENTS) == 0
    old = tmp_path / "runs/ahnpl/version_0/checkpoints"

    def go_on(score, *arguments, keep=True):
        checkpoint = torch.load(old / "last.ckpt", weights_only=True)
        (state,) = (s for name, s in checkpoint["callbacks"].items() if name.startswith("BestCheckpoint"))
        state["best_model_score"] = torch.tensor(score)
        state["best_k_models"] = dict.fromkeys(state["best_k_models"], torch.tensor(score))
        torch.save(checkpoint, old / "last.ckpt")
        before = (old / "best.ckpt").read_bytes()
        if not keep:
            (old / "best.ckpt").unlink()
        more = ("--trainer.max_epochs", 2, "--ckpt_path", old / "last.ckpt", "--name", "on")
        assert cli("fit", *ARGUMENTS, *more, *arguments) == 0
        return before, tmp_path / "runs/on/version_0/checkpoints/best.ckpt"

    return go_on


def step(path):
    return torch.load(path, weights_only=True)["global_step"]


def test_the_best_checkpoint_stays_the_best_over_a_resume(best):
    before, after = best(2.0)
    assert after.read_bytes() == before


def test_a_better_score_after_a_resume_becomes_the_best_checkpoint(best):
    before, after = best(-1.0)
    assert after.read_bytes() != before
    assert step(after) == 16


def test_the_best_score_survives_where_its_file_is_gone(best):
    _, after = best(2.0, keep=False)
    assert not after.exists()
    saved = torch.load(after.with_name("last.ckpt"), weights_only=True)
    (state,) = (s for name, s in saved["callbacks"].items() if name.startswith("BestCheckpoint"))
    assert state["best_model_score"] == 2.0


def test_the_score_of_other_benchmarks_is_not_compared(best):
    _, after = best(2.0, "--data.benchmarks.scenes.n", 6)
    assert step(after) == 16
