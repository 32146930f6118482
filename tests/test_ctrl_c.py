"""Ctrl-C wherever it comes: one line and exit status 130. In the loop of `fit` see callbacks/test_interrupt.py."""

import os
import signal

import pytest

from lightning_cr import task
from tests.conftest import TINY


@pytest.fixture
def stopped(cli, capsys):
    """Runs a command that is interrupted, and gives its last line."""
    before = signal.getsignal(signal.SIGINT)

    def run(*arguments):
        try:
            assert cli(*arguments, "--config", TINY, "--trainer.enable_progress_bar", "false") == 130
        finally:
            signal.signal(signal.SIGINT, before)  # Lightning leaves it switched off
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert len(said.strip().splitlines()) == 1
        return said

    return run


def interrupt(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)


def test_while_the_encoder_is_built(stopped, monkeypatch):
    monkeypatch.setattr(task, "build_encoder", interrupt)
    assert "stopped" in stopped("fit")


@pytest.mark.parametrize(
    ("command", "hook"), [("validate", "validation_step"), ("test", "test_step"), ("predict", "predict_step")]
)
def test_while_it_measures(stopped, monkeypatch, command, hook):
    monkeypatch.setattr(task.CompositionTask, hook, interrupt)
    assert "stopped" in stopped(command)


def test_in_training_without_checkpoints(stopped, monkeypatch):
    monkeypatch.setattr(task.CompositionTask, "training_step", interrupt)
    assert "stopped" in stopped("fit", "--trainer.enable_checkpointing", "false", "--trainer.limit_val_batches", "0")
