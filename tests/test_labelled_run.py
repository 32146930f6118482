"""Zero-shot classification and probes through the command line: measured in test and validate, recorded, compared."""

import csv
import json
import logging
import re

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from lightning_cr.benchmarks import decisions
from tests.conftest import ROOT

COLOURS = {"red_square": (220, 20, 20), "green_square": (20, 200, 40), "blue_square": (20, 40, 220)}
RUN = ("--model.encoder.pretrained", "base", "--data.source", "OnlyBenchmarks", "--trainer.accelerator", "cpu")


@pytest.fixture
def labelled(tmp_path):
    """A folder of plain colours, and a configuration that measures them and a few scenes."""
    for part, count in (("train", 4), ("test", 3)):
        for name, colour in COLOURS.items():
            (tmp_path / "tree" / part / name).mkdir(parents=True)
            for number in range(count):
                shade = tuple(min(255, level + 9 * number) for level in colour)
                Image.new("RGB", (40, 30), shade).save(tmp_path / "tree" / part / name / f"{number}.png")
    (tmp_path / "labelled.yaml").write_text("""
model: {encoder: {name: scenes-tiny}}
data:
  benchmarks:
    colours: {class_path: ZeroShot, init_args: {name: colours, data: LabelledFolders, templates: ["a {c}", "the {c}"]}}
    probe: {class_path: LinearProbe, init_args: {data: {class_path: LabelledFolders}, share: 0.5}}
    several:
      class_path: LinearProbe
      init_args: {name: several, strengths: [0.1], data: {class_path: LabelledScenes, init_args: {train: 60, test: 40}}}
  scoring: {resamples: 50}
""")
    return ("--config", tmp_path / "labelled.yaml", "--data.root", tmp_path / "tree", *RUN)


def test_labels_are_measured_recorded_and_compared(cli, labelled, tmp_path, capsys):
    assert cli("test", *labelled) == 0
    assert cli("test", *labelled) == 0
    first, second = (tmp_path / f"runs/labelled/version_{number}" for number in (0, 1))
    found = json.loads((first / "test_results.json").read_text())["benchmarks"]
    assert found == json.loads((second / "test_results.json").read_text())["benchmarks"]
    assert pq.read_table(first / "examples.parquet").equals(pq.read_table(second / "examples.parquet"))
    assert found["colours"]["options"]["data"] == {
        "class": "LabelledFolders",
        "options": {"folder": "", "train": "train", "val": "val", "test": "test"},
    }
    assert found["colours"]["rows"]["captions"] == 6
    assert found["probe"]["rows"]["captions"] == 0
    assert (found["probe"]["rows"]["pictures"], found["probe"]["rows"]["used"]) == (21, 9)
    score = found["probe"]["scores"]["probe/top-1"]
    assert score["n"] == 9
    assert score["low"] <= score["value"] <= score["high"]
    assert len(found["probe"]["chosen"]["on validation"]) == 7
    assert found["several"]["chosen"]["C"] == 0.1
    assert found["several"]["averages"]["several/AP red"] == {"precision": "several/AP red", "interpolation": "none"}
    assert found["several"]["scores"]["several/mAP"]["n"] == 21 * 40
    truth = pq.read_table(first / "examples.parquet")["truth"]
    assert truth.null_count == 2 * 9
    said = capsys.readouterr().out
    assert "colours/mean per-class recall" in said
    assert cli("compare", first / "test_results.json", second / "test_results.json", "--out", tmp_path / "both") == 0
    both = json.loads((tmp_path / "both/comparison.json").read_text())["others"][str(second / "test_results.json")]
    scores = {score["name"]: score for score in both["several"]}
    assert scores["several/mAP"]["first"] == pytest.approx(found["several"]["scores"]["several/mAP"]["value"])
    assert (scores["several/mAP"]["low"], scores["several/mAP"]["high"]) == (0, 0)
    assert cli("validate", *labelled) == 0
    assert "several/mAP" in capsys.readouterr().out


def test_two_benchmarks_of_one_name_both_count_in_the_headline(cli, labelled, tmp_path):
    (tmp_path / "two.yaml").write_text("""
data:
  benchmarks:
    one: {class_path: ZeroShot, init_args: {data: LabelledFolders, templates: ["a {c}"]}}
    two: {class_path: ZeroShot, init_args: {data: LabelledFolders, classes: [blue, red, green]}}
""")
    assert cli("validate", *labelled, "--config", tmp_path / "two.yaml") == 0
    run = tmp_path / "runs/labelled/version_0"
    scores = json.loads((run / "validate_results.json").read_text())["scores"]
    one, two = scores["zero-shot/top-1"]["accuracy"], scores["two/zero-shot/top-1"]["accuracy"]
    assert one != two
    with (run / "metrics.csv").open() as file:
        logged = [float(row["headline"]) for row in csv.DictReader(file) if row["headline"]]
    assert logged == [pytest.approx((one + two) / 2)]


def test_of_many_classes_only_the_averages_are_printed(cli, labelled, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(decisions, "_PRINTED", 2)
    assert cli("test", *labelled) == 0
    printed = [line.split("  ")[0].strip() for line in capsys.readouterr().out.splitlines()]
    assert "several/mAP" in printed
    assert not {"several/AP red", "probe/recall red_square"} & set(printed)
    found = json.loads((tmp_path / "runs/labelled/version_0/test_results.json").read_text())["benchmarks"]
    assert "several/AP red" in found["several"]["scores"]
    assert cli("validate", *labelled) == 0
    printed = [line.split("  ")[0].strip() for line in capsys.readouterr().out.splitlines()]
    assert "several/mAP" in printed
    assert not {"several/AP red", "probe/recall red_square"} & set(printed)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--data.benchmarks.probe.init_args.data", "LabelledFolder"), "Did you mean 'LabelledFolders'?"),
        (
            ("--data.benchmarks.probe.init_args.data.init_args.train", "absent"),
            "tree/absent has no folder of each class (it is not there); name another by init_args.data.init_args.train",
        ),
        (
            (
                "--data.benchmarks.probe.init_args.data",
                "{class_path: LabelledTorchvision, init_args: {dataset: CIFAR}}",
            ),
            "no data set 'CIFAR'. Did you mean 'CIFAR10'?",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(refused, labelled, flags, message):
    assert message in refused("test", *labelled, *flags)


def test_a_broken_picture_is_left_out_where_that_is_allowed(cli, refused, labelled, tmp_path, caplog):
    (tmp_path / "tree/test/red_square/1.png").write_bytes(b"no picture")
    assert "tree/test/red_square/1.png" in refused("test", *labelled)
    with caplog.at_level(logging.WARNING):
        assert cli("test", *labelled, "--data.source.init_args.max_skipped", 1) == 0
    runs = sorted((tmp_path / "runs/labelled").glob("*/test_results.json"))
    found = json.loads(runs[-1].read_text())["benchmarks"]["probe"]
    assert found["rows"]["examples not counted"] == 1
    assert found["scores"]["probe/top-1"]["n"] == 8


def test_the_example_in_the_configuration_parses(cli, tmp_path, refused):
    """The commented lines of configs/benchmarks.yaml, without their marks, name what is there."""
    text = re.sub(r"^    # ( *[a-z_0-9]+: ?)", r"    \1", (ROOT / "configs/benchmarks.yaml").read_text(), flags=re.M)
    (tmp_path / "all.yaml").write_text(text)
    named = yaml.safe_load(text)["data"]["benchmarks"]
    assert [named[name]["class_path"] for name in ("imagenet", "cifar10", "voc2007")] == [
        *("ZeroShot", "LinearProbe", "LinearProbe")
    ]
    flags = ("--model.encoder.name", "photos-tiny", "--model.encoder.pretrained", "", "--trainer.accelerator", "cpu")
    said = refused("test", "--config", tmp_path / "all.yaml", "--data.root", tmp_path, *flags)
    assert "there is no file" in said, "it parses, and then finds none of the data"
