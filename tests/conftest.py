"""What the tests of the whole product share."""

import csv
import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests/tiny.yaml"
COCO = (  # AHNPL on photographs with the smallest model; --data.root is still to come
    *("--config", ROOT / "configs/ahnpl.yaml", "--config", ROOT / "configs/coco.yaml"),
    *("--model.encoder.name", "photos-tiny", "--model.encoder.pretrained", "", "--data.num_workers", 0),
    *("--data.batch_size", 4, "--trainer.max_epochs", 1),
    *("--trainer.precision", "32-true", "--trainer.accelerator", "cpu"),
)


def tiny(method):
    """A method on a model and data so small that two steps take about a second."""
    return ("--config", ROOT / f"configs/{method}.yaml", "--config", TINY)


@pytest.fixture(scope="session")
def shared():
    """Folder of real annotation files and photographs; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("LIGHTNING_CR_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set LIGHTNING_CR_TEST_DATA")
    return folder


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Runs a command line in an empty folder: ``cli("fit", ...)`` gives the exit code."""
    from lightning_cr.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # nothing is found that another test left
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two cores shared with loaders: more threads only wait for each other

    def run(*arguments):
        return main([str(argument) for argument in arguments])

    yield run
    torch.set_num_threads(threads)


@pytest.fixture
def refused(cli, capsys):
    """Runs a command line that must not pass, and gives the one line that it says."""

    def run(*arguments):
        assert cli(*arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1, said
        return said

    return run


@pytest.fixture
def tree(tmp_path):
    """A COCO tree of twelve pictures."""
    root = tmp_path / "tree"
    for split, first in (("train", 1), ("val", 101)):
        folder = root / f"{split}2017"
        folder.mkdir(parents=True)
        ids = range(first, first + 12)
        for number in ids:
            Image.new("RGB", (80, 60), (number % 256, 100, 200)).save(folder / f"{number:012d}.jpg")
        data = {
            "images": [{"id": n, "file_name": f"{n:012d}.jpg"} for n in ids],
            "annotations": [
                {"id": 10 * n + k, "image_id": n, "caption": f"A red dog {k} on top of a small table {n}."}
                for n in ids
                for k in range(2)
            ],
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"captions_{split}2017.json").write_text(json.dumps(data))
    return root


def losses(folder):
    """Step to loss, from a run's metrics.csv."""
    with (Path(folder) / "metrics.csv").open() as file:
        return {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file) if row.get("loss")}
