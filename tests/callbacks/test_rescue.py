import errno
import os
from pathlib import Path

import pytest
import torch
from callbacks_harness import BATCHES, TinyData, TinyTask, trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_cr import files
from lightning_cr.callbacks import RescueCheckpointIO, check_run_folder
from lightning_cr.errors import CheckpointError

STATE = {"global_step": 7, "weights": torch.arange(200_000.0)}


@pytest.fixture(autouse=True)
def rescue(tmp_path, monkeypatch):
    folder = tmp_path / "rescue"
    monkeypatch.setenv("LIGHTNING_CR_RESCUE", str(folder))
    return folder


@pytest.fixture
def full(tmp_path, monkeypatch):
    """A disk with 100 kB left, below ``tmp_path/run``."""
    real = os.fdopen

    class Full:
        def __init__(self, file):
            self.file, self.left = file, 100_000

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            self.left -= len(data)
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    def fdopen(handle, mode):
        file = real(handle, mode)
        on_it = "/rescue/" not in os.readlink(f"/proc/self/fd/{handle}")
        return Full(file) if on_it or (tmp_path / "both").exists() else file

    def fill():
        monkeypatch.setattr(files.os, "fdopen", fdopen)

    return fill


def test_a_checkpoint_is_whole_and_readable_by_others(tmp_path):
    path = tmp_path / "new/run/last.ckpt"
    RescueCheckpointIO().save_checkpoint(STATE, path)
    assert torch.equal(RescueCheckpointIO().load_checkpoint(path)["weights"], STATE["weights"])
    assert [entry.name for entry in path.parent.iterdir()] == ["last.ckpt"]
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_full_disk_harms_no_earlier_checkpoint_and_the_state_is_rescued(tmp_path, rescue, full):
    path = tmp_path / "run/version_3/checkpoints/last.ckpt"
    RescueCheckpointIO().save_checkpoint({"global_step": 1}, path)
    full()
    with pytest.raises(CheckpointError) as caught:
        RescueCheckpointIO().save_checkpoint(STATE, path)
    saved = next(rescue.iterdir())
    assert saved.name.endswith("run-version_3-step7.ckpt")
    message = str(caught.value)
    assert message == (
        f"could not write {path} (No space left on device); the state of step 7 is in {saved}:"
        f" free space and go on with --ckpt_path {saved}"
    )
    assert torch.equal(torch.load(saved)["weights"], STATE["weights"])
    assert torch.load(path) == {"global_step": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["last.ckpt"]


def test_with_no_space_anywhere_it_says_what_is_left(tmp_path, rescue, full):
    path = tmp_path / "run/last.ckpt"
    RescueCheckpointIO().save_checkpoint({"global_step": 1}, path)
    full()
    (tmp_path / "both").write_text("")
    with pytest.raises(
        CheckpointError, match=r"nor the state of step 7 to .*; the earlier last.ckpt is unharmed; free"
    ):
        RescueCheckpointIO().save_checkpoint(STATE, path)
    assert torch.load(path) == {"global_step": 1}
    assert list(rescue.iterdir()) == []


def test_a_file_in_place_of_the_folder(tmp_path, rescue):
    (tmp_path / "run").write_text("")
    with pytest.raises(CheckpointError, match=r"could not write .*run/last.ckpt \((File exists|Not a directory)\)"):
        RescueCheckpointIO().save_checkpoint(STATE, tmp_path / "run/last.ckpt")
    assert len(list(rescue.iterdir())) == 1


def test_what_cannot_be_saved_is_our_bug_and_not_the_disks(tmp_path):
    path = tmp_path / "last.ckpt"
    with pytest.raises((AttributeError, TypeError, RuntimeError), match=r"lambda|pickle"):
        RescueCheckpointIO().save_checkpoint({"bad": lambda: None}, path)
    assert list(tmp_path.glob("*.ckpt")) == list(tmp_path.glob(".*")) == []


def test_a_run_goes_on_from_the_rescued_state(tmp_path, rescue):
    def disk_breaks(task, batch_idx):
        if task.global_step == 5:
            checkpoints = tmp_path / "kept"
            (checkpoints / "last.ckpt").unlink()
            checkpoints.rmdir()
            checkpoints.write_text("")

    whole, broken, resumed = TinyTask(), TinyTask(disk_breaks), TinyTask()
    trainer(tmp_path / "whole", []).fit(whole, datamodule=TinyData())

    def run(name, task, **more):
        keep = ModelCheckpoint(dirpath=tmp_path / "kept", filename="last", every_n_train_steps=3)
        made = trainer(tmp_path / name, [keep], plugins=[RescueCheckpointIO()], enable_checkpointing=True)
        made.fit(task, datamodule=TinyData(), **more)

    with pytest.raises(CheckpointError, match="the state of step 6 is in"):
        run("broken", broken)
    (tmp_path / "kept").unlink()
    run("resumed", resumed, ckpt_path=next(rescue.iterdir()))
    assert broken.seen + resumed.seen == whole.seen
    assert len(whole.seen) == 2 * BATCHES
    assert torch.equal(resumed.weight, whole.weight)


@pytest.mark.parametrize("below", ["run", "run/deep/er"])
def test_a_folder_that_can_be_made_is_not_made_yet(tmp_path, below):
    check_run_folder(tmp_path / below)
    assert [entry.name for entry in tmp_path.iterdir()] in ([], ["rescue"])


def test_folders_that_cannot_be_written(tmp_path, monkeypatch):
    check_run_folder(None)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "taken").write_text("")
    for path in (tmp_path / "taken", tmp_path / "taken/run", tmp_path / "dangling/run"):
        with pytest.raises(CheckpointError, match="is not a folder"):
            check_run_folder(path)

    def read_only(dir):
        raise OSError(errno.EROFS, "Read-only file system", str(Path(dir) / "tmpx"))

    monkeypatch.setattr(files.tempfile, "TemporaryFile", read_only)
    with pytest.raises(CheckpointError, match=r"cannot be written \(Read-only file system\); choose another"):
        check_run_folder(tmp_path / "run")
