"""200 pictures of photographs: on one process and on two, and killed twice in the middle, the same files."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lightning_cr.negatives.image.store import PictureStore
from tests.conftest import ROOT

ITEMS, SHARD = 200, 8


@pytest.fixture
def command(pipelines, shared, tmp_path):
    """The command line on the photographs, and how it is started."""

    def build(store, processes=1, items=ITEMS):
        given = [
            *("synthesize", "--config", ROOT / "configs/synthesize.yaml", "--data.root", shared / "photos"),
            *("--model.pipeline", pipelines["text_to_image"], "--model.size", 32, "--model.steps", 2),
            *("--model.filter", "null", "--data.limit", items, "--data.shard", SHARD, "--data.batch_size", 4),
            *("--data.num_workers", 0, "--data.store", tmp_path / store, "--trainer.accelerator", "cpu"),
            *("--trainer.devices", processes, "--trainer.strategy", "ddp" if processes > 1 else "auto"),
        ]
        return [sys.executable, "-m", "lightning_cr", *map(str, given)]

    return build


@pytest.fixture
def start(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(line):
        return subprocess.Popen(
            line,
            cwd=tmp_path,
            env=environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


def finished(process):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def written(folder):
    return {path.name: path for path in folder.glob("manifest/*.parquet")}


def kill_after(process, folder, shards):
    """Kills all its processes by SIGKILL as soon as the store has so many shards."""
    end = time.monotonic() + 300
    while len(written(folder)) < shards and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    return {name: path.stat().st_mtime_ns for name, path in written(folder).items()}


def contents(folder):
    """All that counts in a store: half files of a killed process have names with a dot."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("shards", "manifest")
        for path in (folder / part).iterdir()
        if path.name[0] != "."
    }


@pytest.mark.slow
def test_processes_and_kills_change_no_byte(command, start, tmp_path):
    finished(start(command("one")))
    one = contents(tmp_path / "one")
    assert len(one) == 2 * ITEMS // SHARD
    store = PictureStore(tmp_path / "one")
    assert len(set(store.rows["key"].to_pylist())) == len(store) == ITEMS

    finished(start(command("two", 2)))
    assert contents(tmp_path / "two") == one
    assert (tmp_path / "two/sheet.html").read_bytes() == (tmp_path / "one/sheet.html").read_bytes()

    folder = tmp_path / "killed"
    first = kill_after(start(command("killed", 2)), folder, 3)
    assert 3 <= len(first) < ITEMS // SHARD
    second = kill_after(start(command("killed")), folder, len(first) + 4)
    assert len(first) + 4 <= len(second) < ITEMS // SHARD
    assert f"{SHARD * len(second)} of them in {folder} already" in finished(start(command("killed", 2)))
    assert contents(folder) == one
    last = {name: path.stat().st_mtime_ns for name, path in written(folder).items()}
    assert {name: last[name] for name in second} == second, "what was there was not made again"
    assert {name: second[name] for name in first} == first

    # One shard is missing and there are two processes.
    finished(start(command("two", 2, ITEMS + 1)))
    assert len(PictureStore(tmp_path / "two")) == ITEMS + 1
