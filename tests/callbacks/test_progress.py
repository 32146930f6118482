import io
import re
import sys
import time

import pytest
from callbacks_harness import BATCHES, SIZE, TinyData, TinyTask, trainer
from lightning.pytorch.callbacks import Callback

from lightning_cr.callbacks import Progress, Throughput
from lightning_cr.callbacks.throughput import THROUGHPUT

STEP = 0.02


def slow(task, batch_idx):
    time.sleep(STEP)


class Watch(Callback):
    def __init__(self):
        self.rates = []

    def on_train_batch_end(self, trainer, *_):
        self.rates.append(float(trainer.callback_metrics[THROUGHPUT]))


def test_throughput_counts_samples_of_training_only(tmp_path):
    class SlowValidation(Callback):
        def on_validation_start(self, trainer, *_):
            time.sleep(0.3)

    watch = Watch()
    callbacks = [Throughput(window=3), watch, SlowValidation()]
    trainer(tmp_path, callbacks).fit(TinyTask(slow), datamodule=TinyData())
    assert len(watch.rates) == 2 * BATCHES
    assert max(watch.rates) <= SIZE / STEP
    assert min(watch.rates[1:]) > SIZE / (STEP + 0.3) * 1.2  # a pause counted in would pull it below
    assert THROUGHPUT in (tmp_path / "run/version_0/metrics.csv").read_text()


def progress_of(tmp_path, progress, epochs=5, **more):
    run = trainer(tmp_path, [Throughput(), progress], epochs=epochs, enable_progress_bar=True, **more)
    run.fit(TinyTask(), datamodule=TinyData())


def test_a_log_gets_a_few_lines(tmp_path, capsys):
    progress_of(tmp_path, Progress(), epochs=20)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "measuring before the first step"
    assert 20 <= len(lines) <= 23
    assert lines[-1].startswith("step 160/160 (100%)  loss ")
    assert " samples/s  0:00 left" in lines[-1]
    assert all("\r" not in line and "\x1b" not in line for line in lines)


def test_a_log_is_never_silent_for_long(tmp_path, capsys):
    progress_of(tmp_path, Progress(seconds=0.0), epochs=5)
    assert len(capsys.readouterr().out.splitlines()) == 1 + 5 * BATCHES


@pytest.mark.parametrize("plain", [True, False])
def test_silence(tmp_path, capsys, plain):
    progress = Progress(refresh_rate=0, plain=plain)
    progress_of(tmp_path, progress)
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_one_bar_over_the_whole_run(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    progress_of(tmp_path, Progress(), epochs=3)
    last = [part for part in screen.getvalue().split("\r") if part.startswith("Training")][-1]
    assert f"| {3 * BATCHES}/{3 * BATCHES} [" in last
    assert "loss=" in last
    assert "samples/s=" in last
    assert "v_num" not in last


def test_a_resumed_run_counts_from_where_it_goes_on(tmp_path, capsys):
    run = trainer(tmp_path, [], epochs=1)
    run.fit(TinyTask(), datamodule=TinyData())
    run.save_checkpoint(tmp_path / "one.ckpt")
    capsys.readouterr()
    again = trainer(tmp_path / "b", [Throughput(), Progress()], epochs=2, enable_progress_bar=True)
    again.fit(TinyTask(), datamodule=TinyData(), ckpt_path=tmp_path / "one.ckpt")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert lines[0].startswith("step 9/16 (56%)")
    assert lines[-1].startswith("step 16/16 (100%)")


def test_a_run_without_an_end_has_no_time_left(tmp_path, capsys):
    progress_of(tmp_path, Progress(), epochs=-1, max_time={"seconds": 1})
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert lines
    assert not any("left" in line or "/" in line.split("samples/s")[0].split("  ")[0] for line in lines)


@pytest.mark.parametrize("stage", ["test", "validate"])
def test_measuring_has_lines_with_the_time_left(tmp_path, capsys, stage):
    run = trainer(tmp_path, [Progress(seconds=0.0)], enable_progress_bar=True)
    getattr(run, stage)(TinyTask(), datamodule=TinyData(), verbose=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ") for line in lines] == [
        [f"batch {n}/3 ({share}%)", "0:00 left"] for n, share in ((1, 33), (2, 67), (3, 100))
    ]


def test_a_quick_test_writes_no_line(tmp_path, capsys):
    trainer(tmp_path, [Progress()], enable_progress_bar=True).test(TinyTask(), datamodule=TinyData(), verbose=False)
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar_with_the_time_left_while_measuring(tmp_path, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    run = trainer(tmp_path, [Progress(plain=False)], enable_progress_bar=True)
    run.test(TinyTask(), datamodule=TinyData(), verbose=False)
    last = [part for part in screen.getvalue().split("\r") if part.startswith("Testing")][-1]
    assert re.search(r"\| 1/1 \[00:00<00:00,", last)
