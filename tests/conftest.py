"""What the tests of the whole product share."""

import csv
import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two cores shared with loaders: more threads only wait for each other

    def run(*arguments):
        return main([str(argument) for argument in arguments])

    yield run
    torch.set_num_threads(threads)


def losses(folder):
    """Step to loss, from a run's metrics.csv."""
    with (Path(folder) / "metrics.csv").open() as file:
        return {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file) if row.get("loss")}
