"""scripts/fit_matrix.py: what it plans, that it sees a number that is not finite, and a small slice of it."""

import argparse
import importlib.util
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.conftest import ROOT

SCRIPT = ROOT / "scripts" / "fit_matrix.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("fit_matrix", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fit_matrix"] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fit_matrix"]


def planned(script, whole):
    chosen = {"recipes": script.RECIPES, "data": ("scenes", "photos"), "steps": 500, "short": 25, "flags": []}
    return script.plan(argparse.Namespace(**chosen, whole=whole))


def test_every_recipe_is_there_and_every_setting_is_tried(script):
    methods = {path for path in (ROOT / "configs").rglob("*.yaml") if "\n  losses:" in path.read_text()}
    assert {ROOT / "configs" / f"{name}.yaml" for name in script.RECIPES} == methods
    whole, runs = planned(script, True), planned(script, False)
    assert len({run.name for run in whole}) == len(whole) == 7 * 2 * 2 * 2 * 2
    assert len({run.name for run in runs}) == len(runs) == 7 * 2 * (2 + 1 + 1)
    assert [run.steps for run in runs] == [500] * 28 + [25] * 28


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("sort", ["gradient", "logged", "weight"])
def test_the_first_number_that_is_not_finite_is_named(script, sort, value):
    watch, model = script.Watch(), torch.nn.Linear(2, 2)
    logged = {"loss": torch.tensor(1.0), "train/rank/margin": torch.tensor(2.0)}
    trainer = SimpleNamespace(callback_metrics=logged)
    model(torch.ones(1, 2)).sum().backward()
    for broken in (False, True):
        watch.on_before_optimizer_step(trainer, model)
        watch.on_train_batch_end(trainer, model)
        if not broken:
            assert watch.problem == ""
            with torch.no_grad():
                changed = {"gradient": model.bias.grad, "logged": logged["train/rank/margin"], "weight": model.weight}
                changed[sort].flatten()[:1].fill_(value)
    assert watch.problem.startswith(f"{sort} ")
    assert watch.problem.endswith(f"at batch 1, after {1 if sort == 'gradient' else 2} steps")
    found = watch.problem
    model.bias.data.fill_(torch.nan)
    watch.on_train_batch_end(trainer, model)
    assert watch.problem == found, "the first one stays"


def made(out, *arguments):
    command = [sys.executable, SCRIPT, "--data", "scenes", "--out", out, *arguments]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=1800)
    assert "finite?" in done.stdout, done.stdout + done.stderr
    return done.returncode, json.loads((out / "runs.json").read_text()), done.stdout


@pytest.mark.slow
def test_a_slice_of_the_matrix(tmp_path):
    arguments = ("--recipes", "ahnpl", "--steps", 3, "--short", 2)
    code, runs, shown = made(tmp_path, *arguments)
    assert code == 0, shown
    assert {name: (run["done"], run["problem"]) for name, run in runs.items()} == {
        "ahnpl/scenes/32-true/1/1": (3, ""),
        "ahnpl/scenes/bf16-mixed/1/1": (3, ""),
        "ahnpl/scenes/bf16-mixed/4/1": (2, ""),
        "ahnpl/scenes/bf16-mixed/1/2": (2, ""),
    }
    assert "4 of 4 runs finite" in shown
    before = (tmp_path / "runs.json").stat().st_mtime_ns
    assert made(tmp_path, *arguments)[0] == 0
    assert (tmp_path / "runs.json").stat().st_mtime_ns == before, "what is there is not made again"


@pytest.mark.slow
def test_a_run_that_breaks_is_told_and_the_others_are_made(tmp_path):
    broken = ("--flags", "--model.optimizer.lr=1e30", "--model.optimizer.warmup_steps=0")
    code, runs, shown = made(tmp_path, "--recipes", "clip", "--steps", 3, "--short", 1, *broken)
    assert code == 1
    assert len(runs) == 4
    assert "is inf at batch" in runs["clip/scenes/bf16-mixed/4/1"]["problem"]
    assert all(run["problem"] for run in runs.values()), shown
