import errno
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from callbacks_harness import BATCHES, TinyData, TinyTask, trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lightning_cr.callbacks import GracefulStop, Interrupted, RunReport
from lightning_cr.errors import CheckpointError

WAY_ON = r"go on: python -m lightning_cr fit --config YOUR_CONFIG --ckpt_path "


@pytest.fixture(autouse=True)
def signals_mean_what_they_did():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs tests in the background ignores it
    got, before = [], signal.signal(signal.SIGTERM, lambda *_: got.append("term"))
    try:
        yield
        os.kill(os.getpid(), signal.SIGTERM)
        assert got == ["term"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def send(number=signal.SIGINT, at=5, times=1):
    def act(task, batch_idx):
        if task.global_step == at and not task.sent:
            task.sent = True
            for _ in range(times):
                os.kill(os.getpid(), number)

    return act


def fit(folder, task, workers=0, ckpt_path=None, **more):
    trainer(folder, [RunReport(examples=0), GracefulStop()], **more).fit(
        task, datamodule=TinyData(workers), ckpt_path=ckpt_path
    )


@pytest.fixture
def whole(tmp_path):
    task = TinyTask()
    fit(tmp_path / "whole", task)
    return task


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("at", [0, 4, BATCHES - 1, BATCHES, 2 * BATCHES - 1])
def test_a_stopped_and_resumed_run_is_the_undisturbed_one(tmp_path, whole, number, status, at):
    stopped, resumed = TinyTask(send(number, at)), TinyTask()
    with pytest.raises(Interrupted, match=f"^stopped at step {at + 1}; {WAY_ON}") as caught:
        fit(tmp_path / "stopped", stopped)
    assert caught.value.status == status
    path = tmp_path / "stopped/run/version_0/checkpoints/last.ckpt"
    assert str(caught.value).endswith(f" {path}")
    fit(tmp_path / "resumed", resumed, ckpt_path=path)
    assert stopped.seen + resumed.seen == whole.seen
    assert torch.equal(resumed.weight, whole.weight)
    history = torch.load(path)["callbacks"]["RunReport"]["history"]
    assert list(history) == [step for step in (BATCHES, 2 * BATCHES) if step <= at + 1]
    written = (tmp_path / "resumed/run/version_0/results.json").read_text()
    assert f'"step": {2 * BATCHES}' in written


def test_gathered_gradients_are_not_torn_apart(tmp_path):
    stopped = TinyTask(send(at=0))
    with pytest.raises(Interrupted, match="stopped at step 1;"):
        fit(tmp_path, stopped, accumulate_grad_batches=3)
    assert len(stopped.seen) == 3


def test_the_second_ctrl_c_stops_at_once_and_names_the_last_checkpoint(tmp_path):
    task = TinyTask(send(at=5, times=2))
    keep = ModelCheckpoint(every_n_train_steps=2, save_top_k=-1)
    with pytest.raises(Interrupted, match=f"^stopped at once; {WAY_ON}.*step=4.ckpt$"):
        trainer(tmp_path, [GracefulStop(), keep], enable_checkpointing=True).fit(task, datamodule=TinyData())
    assert not list(tmp_path.rglob("last.ckpt"))


def test_before_the_first_step_it_stops_at_once(tmp_path):
    class Impatient(Callback):
        def on_sanity_check_start(self, *_):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped at once; there was no checkpoint yet"):
        trainer(tmp_path, [Impatient(), GracefulStop()]).fit(TinyTask(), datamodule=TinyData())


def test_a_validation_is_finished_first(tmp_path, capfd):
    class Impatient(Callback):
        def on_validation_batch_start(self, trainer, *_):
            if trainer.global_step == BATCHES:
                os.kill(os.getpid(), signal.SIGINT) if not self.done else None
                self.done = True

        done = False

    task = TinyTask()
    keep = ModelCheckpoint(dirpath=tmp_path / "kept", filename="best", save_on_train_epoch_end=False)
    callbacks = [GracefulStop(), Impatient(), RunReport(), keep]  # it lets the others finish wherever it stands
    run = trainer(tmp_path, callbacks, enable_checkpointing=True)
    with pytest.raises(Interrupted, match=f"stopped at step {BATCHES};"):
        run.fit(task, datamodule=TinyData())
    assert (tmp_path / "kept/best.ckpt").is_file()
    saved = torch.load(next(tmp_path.rglob("last.ckpt")))
    assert list(saved["callbacks"]["RunReport"]["history"]) == [BATCHES]
    assert "finishing this step" in capfd.readouterr().err


def test_a_logger_without_disk_costs_no_step(tmp_path, whole):
    class Breaks(Callback):
        def on_train_batch_start(self, trainer, *_):
            logger = trainer.logger
            logger.log_metrics = self.full if trainer.global_step == 3 else logger.log_metrics

        def full(self, *_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

    stopped, resumed = TinyTask(), TinyTask()
    with pytest.raises(CheckpointError, match=f"No space left on device; the run stopped at step 4, {WAY_ON}"):
        trainer(tmp_path, [Breaks(), GracefulStop()]).fit(stopped, datamodule=TinyData())
    fit(tmp_path / "resumed", resumed, ckpt_path=next(tmp_path.rglob("run/version_0/checkpoints/last.ckpt")))
    assert stopped.seen + resumed.seen == whole.seen
    assert torch.equal(resumed.weight, whole.weight)


def test_another_error_passes_and_leaves_nothing(tmp_path):
    def bug(task, batch_idx):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        trainer(tmp_path, [GracefulStop()]).fit(TinyTask(bug), datamodule=TinyData())
    assert not list(tmp_path.rglob("*.ckpt"))


def test_it_can_be_sent_to_another_process():
    assert isinstance(pickle.loads(pickle.dumps(GracefulStop())), GracefulStop)


SCRIPT = """
import sys, time
sys.path.insert(0, {here!r})
from callbacks_harness import TinyData, TinyTask, trainer
from lightning_cr.callbacks import GracefulStop
stop = GracefulStop()
def second_waits(task, batch_idx):
    print("batch", flush=True)
    while batch_idx == 1 and not stop._signal:
        time.sleep(0.01)
run = trainer({folder!r}, [stop], accumulate_grad_batches={batches})
run.fit(TinyTask(second_waits), datamodule=TinyData(workers=1))
"""


def test_ctrl_c_in_a_terminal_reaches_loader_processes_too(tmp_path):
    # One step takes the whole epoch: it can be finished only if the loader goes on to load what nobody asked for yet.
    script = SCRIPT.format(here=str(Path(__file__).parent), folder=str(tmp_path), batches=BATCHES)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    run = subprocess.Popen([sys.executable, "-c", script], start_new_session=True, **pipes)
    try:
        for _ in range(2):
            assert run.stdout.readline() == "batch\n"
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=120)
    finally:
        run.kill()
    assert "stopped at step 1; go on: python -m lightning_cr fit" in err
    assert "Traceback" not in err
    assert out == "batch\n" * (BATCHES - 2)
    assert run.returncode == 1  # a script; the command line turns Interrupted into 130
    assert torch.load(next(tmp_path.rglob("last.ckpt")))["global_step"] == 1
