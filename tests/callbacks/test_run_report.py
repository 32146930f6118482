import json
import math

import lightning as pl
import pytest
import torch
from callbacks_harness import BATCHES, TinyData, TinyEncoder, TinyTask, trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image

from lightning_cr.benchmarks.base import Score
from lightning_cr.callbacks import RunReport
from lightning_cr.callbacks.curves import LossCurve
from lightning_cr.callbacks.samples import draw_samples, score_examples
from lightning_cr.callbacks.table import SEVEN, as_scores, grouped, print_scores, wilson
from lightning_cr.errors import CheckpointError, DataError


@pytest.fixture
def finished(tmp_path, capsys):
    pl.seed_everything(3)
    report = RunReport()
    run = trainer(tmp_path, [report])
    task = TinyTask()
    run.fit(task, datamodule=TinyData())
    return run, report, capsys.readouterr().out


def results(folder, name="results.json"):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads((folder / "run/version_0" / name).read_text(), parse_constant=refuse)


def test_results_hold_before_after_and_where_they_are_from(tmp_path, finished):
    found = results(tmp_path)
    assert found["before"]["replace_rel"] == {"accuracy": 0.5, "n": 200, "ties": 1}
    assert found["after"]["replace_rel"]["accuracy"] == pytest.approx(1.0)
    assert [entry["step"] for entry in found["history"]] == [BATCHES, 2 * BATCHES]
    assert found["history"][0]["scores"]["swap_obj"]["accuracy"] == pytest.approx(0.9)
    assert found["steps"] == 2 * BATCHES
    assert found["seed"] == 3
    assert found["encoder"] == "tiny"
    assert found["skipped"] == ["a.jpg: truncated"]
    assert found["seconds"] > 0
    assert found["samples_per_second"] > 0
    assert set(found["versions"]) == {"lightning_cr", "torch", "lightning", "open_clip", "python"}
    assert found["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_table_shows_the_seven_first_then_their_mean_then_what_may_be_forgotten(finished):
    _, _, out = finished
    lines = [line.split() for line in out.splitlines()]
    names = [line[0] for line in lines if line and line[0] in (*SEVEN, "mean", "hard_positive", "retrieval/i2t_r@1")]
    assert names == [*SEVEN, "mean", "hard_positive", "retrieval/i2t_r@1"]
    row = next(line for line in lines if line[:1] == ["swap_att"])
    assert row == ["swap_att", "200", "50.0", "100.0", "+50.0", "98.1", "to", "100.0"]
    assert "\x1b" not in out
    assert max(len(line) for line in out.splitlines() if not line.startswith("in ")) <= 80


@pytest.mark.parametrize("name", ["curves.png", "samples.png"])
def test_pictures_are_drawn(tmp_path, finished, name):
    with Image.open(tmp_path / "run/version_0" / name) as picture:
        assert min(picture.size) > 200
        assert len(picture.convert("RGB").getcolors(10**6)) > 20


def test_curve_keeps_the_terms_and_not_their_reports(finished):
    curve = finished[1].curve.state_dict()
    assert curve["steps"] == list(range(1, 2 * BATCHES + 1))
    assert set(curve["values"]) == {"loss", "train/contrastive", "train/rank"}
    loss, rank = curve["values"]["loss"], curve["values"]["train/rank"]
    assert rank == pytest.approx([value / 4 for value in loss])
    assert len(set(loss)) > BATCHES


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_all_of_it_survives_a_resume(tmp_path, finished):
    whole = results(tmp_path)
    first, checkpoint = tmp_path / "first", tmp_path / "kept/half.ckpt"
    keep = ModelCheckpoint(dirpath=tmp_path / "kept", filename="half")
    trainer(first, [RunReport(), keep], epochs=1, enable_checkpointing=True).fit(TinyTask(), datamodule=TinyData())
    report = RunReport()
    trainer(tmp_path / "second", [report, ModelCheckpoint(dirpath=tmp_path / "more")], enable_checkpointing=True).fit(
        TinyTask(), datamodule=TinyData(), ckpt_path=checkpoint
    )
    resumed = results(tmp_path / "second")
    for key in ("before", "after", "history", "steps"):
        assert resumed[key] == whole[key]
    assert report.curve.state_dict()["values"] == finished[1].curve.state_dict()["values"]
    assert resumed["seconds"] > results(first)["seconds"]
    assert report._samples == finished[1]._samples


def test_the_last_step_has_a_validation_also_in_mid_epoch(tmp_path):
    trainer(tmp_path, [RunReport()], epochs=-1, max_steps=BATCHES + 3).fit(TinyTask(), datamodule=TinyData())
    assert [entry["step"] for entry in results(tmp_path)["history"]] == [BATCHES, BATCHES + 3]


def test_a_partial_check_is_no_before(tmp_path, capsys):
    trainer(tmp_path, [RunReport()], num_sanity_val_steps=1).fit(TinyTask(), datamodule=TinyData())
    assert results(tmp_path)["before"] == {}
    assert "num_sanity_val_steps" in capsys.readouterr().out


def test_without_validation_it_says_so(tmp_path, capsys):
    trainer(tmp_path, [RunReport()], limit_val_batches=0).fit(TinyTask(), datamodule=TinyData())
    assert "no validation was run" in capsys.readouterr().out
    assert results(tmp_path)["after"] == {}
    assert (tmp_path / "run/version_0/curves.png").is_file()


def test_without_benchmarks_it_says_so(tmp_path, capsys):
    trainer(tmp_path, [RunReport()]).fit(TinyTask(scores=False), datamodule=TinyData())
    assert "no validation was run" in capsys.readouterr().out


def test_fast_dev_run_leaves_no_file(tmp_path, capsys):
    trainer(tmp_path, [RunReport()], fast_dev_run=True).fit(TinyTask(), datamodule=TinyData())
    assert list(tmp_path.iterdir()) == []
    assert "nothing to report" in capsys.readouterr().out


def test_validation_prints_one_column_and_writes_its_scores(tmp_path, capsys):
    trainer(tmp_path, [RunReport()]).validate(TinyTask(), datamodule=TinyData(), verbose=False)
    found = results(tmp_path, "validate_results.json")
    assert found["scores"]["swap_obj"] == {"accuracy": 0.5, "n": 200, "ties": 1}
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if "swap_obj" in line)
    assert row == ["swap_obj", "200", "50.0", "43.1", "to", "56.9"]
    assert not (tmp_path / "run/version_0/results.json").exists()


def test_a_score_that_is_no_number_becomes_null(capsys):
    scores = as_scores({"swap_obj": Score(math.nan, 3), "swap_att": Score(1 / 3, 3)})
    assert scores["swap_obj"]["accuracy"] is None
    assert '"accuracy": null' in json.dumps(scores, allow_nan=False)
    print_scores(scores, before=scores)
    assert "swap_obj        3" in capsys.readouterr().out


def test_a_folder_that_cannot_be_is_refused_before_training(tmp_path):
    (tmp_path / "taken").write_text("")
    task = TinyTask()
    with pytest.raises(CheckpointError, match=r"taken/run.*is not a folder.*default_root_dir"):
        trainer(tmp_path / "taken/run", [RunReport()], logger=False).fit(task, datamodule=TinyData())
    assert task.seen == []


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
def test_a_report_that_cannot_be_written_says_that_the_checkpoints_stand(tmp_path):
    (tmp_path / "run/version_0/results.json").mkdir(parents=True)
    with pytest.raises(DataError, match=r"could not write the report into .*version_0 \(Is a directory\)"):
        trainer(tmp_path, [RunReport()]).fit(TinyTask(), datamodule=TinyData())
    assert not list((tmp_path / "run/version_0").glob(".*"))


def test_examples_pair_each_image_with_its_own_texts():
    encoder = TinyEncoder().train()
    first, second = score_examples(encoder, TinyData().examples(2)[0], torch.device("cpu"))
    assert first.names == ["caption", "swap_att", "replace_obj"]
    assert first.similarities == pytest.approx([1.0, 3 / math.sqrt(10), 1 / math.sqrt(2)], abs=1e-6)
    assert first.correct
    assert second.names == ["caption", "replace_rel"]
    assert second.similarities == pytest.approx([1.0, 9 / math.sqrt(82)], abs=1e-6)
    assert encoder.training


def test_a_tie_is_wrong(tmp_path):
    batch, _ = TinyData().examples(2)
    batch.tokens[2] = batch.tokens[0]
    first, second = score_examples(TinyEncoder(), batch, torch.device("cpu"))
    assert not first.correct
    assert second.correct
    draw_samples(tmp_path / "odd.png", [first, second, first])
    assert (tmp_path / "odd.png").stat().st_size > 1000


def test_curve_is_thinned_and_keeps_the_right_values():
    curve = LossCurve(limit=20)
    for step in range(1, 201):
        curve.add(step, {"loss": torch.tensor(float(step))} | ({"late": torch.tensor(math.nan)} if step > 100 else {}))
    state = curve.state_dict()
    assert 10 <= len(state["steps"]) <= 20
    assert state["values"]["loss"] == [float(step) for step in state["steps"]]
    assert state["steps"][-1] > 200 - 2 * state["stride"]
    assert state["values"]["late"] == [None] * len(state["steps"])
    again = LossCurve(limit=20)
    again.load_state_dict(state)
    assert again.state_dict() == state


def test_groups():
    names = ["other", "retrieval/t2i_r@5", "winoground/group", "mean of 7", "held_out_pairs", "add_att", "replace_obj"]
    assert grouped(names) == [
        ["replace_obj", "add_att"],
        ["mean of 7"],
        ["winoground/group", "held_out_pairs", "other"],
        ["retrieval/t2i_r@5"],
    ]


def test_wilson():
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)  # Newcombe 1998, method 3
    assert wilson(0.0, 10)[0] == 0.0
    assert wilson(0.5, 0) == (0.0, 1.0)
