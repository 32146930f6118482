"""Two processes with different data train as one process with both: the same losses, the same weights."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
import torch

from tests.conftest import COCO, losses, tiny


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ahnpl", "ceclip", "negclip", "clip"])
def test_two_processes_equal_one(cli, tmp_path, method):
    shared = (
        "fit",
        *tiny(method),
        *("--data.source.size", 48, "--data.eval_batch_size", 16),
    )
    assert cli(*shared, "--data.batch_size", 12, "--name", "one") == 0
    two = (*shared, "--data.batch_size", 6, "--name", "two", "--trainer.devices", 2, "--trainer.strategy", "ddp")
    command = [sys.executable, "-m", "lightning_cr", *map(str, two)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr

    folders = [tmp_path / "runs" / name / "version_0" for name in ("one", "two")]
    one, both = map(losses, folders)
    assert list(one) == list(both) == [0, 1, 2, 3]
    for step, loss in one.items():
        assert both[step] == pytest.approx(loss, rel=2e-5), step
    before, after = (
        [json.loads((f / "results.json").read_text())[when] for f in folders] for when in ("before", "after")
    )
    assert before[0] == before[1], "each rank encodes its part, and all are scored together"
    assert after[0].keys() == after[1].keys()
    for name, score in after[0].items():
        assert after[1][name]["accuracy"] == pytest.approx(score["accuracy"], abs=2.5 / score["n"]), name
    states = [torch.load(f / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for f in folders]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        if isinstance(value, torch.Tensor):
            # Adam divides by gradients that may be near zero, so float noise shows as a share of lr = 1e-3
            assert torch.allclose(value, states[1][name], atol=2e-4), name


@pytest.mark.slow
def test_two_processes_annotate_once_and_learn_the_same(cli, tmp_path, tree):
    shared = (
        "fit",
        *COCO,
        "--data.root",
        tree,
        "--data.negatives.cache",
        tmp_path / "notes",
        "--data.source.crop_scale=[1,1]",
    )
    assert cli(*shared, "--data.batch_size", 6, "--name", "one") == 0
    for shard in (tmp_path / "notes").iterdir():
        shard.unlink()
    two = (*shared, "--data.batch_size", 3, "--name", "two", "--trainer.devices", 2, "--trainer.strategy", "ddp")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "lightning_cr", *map(str, two)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    made = Counter(path.suffix for path in (tmp_path / "notes").iterdir())
    assert made == {".arrow": 1, ".learned": 1 + 5, ".compiled": 5}, "the corpus's counts, and what five rules learned"
    one, both = (losses(tmp_path / "runs" / name / "version_0") for name in ("one", "two"))
    assert both == pytest.approx(one, rel=2e-4)
