"""What ``test`` leaves, what ``compare`` says of two tests, and measuring a model that is not ours."""

import json
import re
import shutil

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from lightning_cr.benchmarks import ScenesBenchmark, SugarCrepe, evaluate
from lightning_cr.benchmarks.base import Scoring
from lightning_cr.benchmarks.records import read_record
from lightning_cr.benchmarks.sugarcrepe import SEVEN
from lightning_cr.benchmarks.valse import PIECES
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError
from tests.conftest import ROOT

SMALL = ("--data.benchmarks.scenes.init_args.n", 12, "--trainer.accelerator", "cpu", "--data.scoring.resamples", 200)
PREPROCESS = Preprocess(32, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture
def tested(cli, tmp_path):
    """A test of the base model on a few scenes; its folder."""
    assert cli("test", *SMALL) == 0
    return tmp_path / "runs/run/version_0"


def rows_of_every_benchmark(root, pictures):
    """A few rows in the shape of each file that configs/benchmarks.yaml names."""

    def write(path, data):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))

    row = {"caption": "a dog on a bed", "negative_caption": "a bed on a dog", "caption2": "on a bed is a dog"}
    for part in SEVEN:
        rows = [row | {"filename": name} for name in pictures]
        write(root / f"sugarcrepe/{part}.json", dict(enumerate(rows)))
        write(root / f"sugarcrepe_pp/{part}.json", rows)
    foil = {"caption": "a dog on a bed", "foil": "a cat on a bed", "mturk": {"caption": 3}}
    for piece in PIECES:
        write(root / f"valse/{piece}.json", {name: foil | {"image_file": name} for name in pictures})
    captions = [{"image": f"val2014/COCO_val2014_{name}", "caption": ["a dog", name]} for name in pictures]
    write(root / "coco_karpathy_test.json", captions)


def test_the_benchmarks_configuration_runs_on_pictures_found_by_number(cli, tmp_path, capsys):
    pictures = [f"{number:012d}.jpg" for number in (3, 5, 8)]
    (tmp_path / "train2017").mkdir()
    for number, name in enumerate(pictures):
        Image.new("RGB", (40, 30), (90 * number, 40, 200)).save(tmp_path / "train2017" / name)
    rows_of_every_benchmark(tmp_path, pictures)
    flags = ("--model.encoder.name", "photos-tiny", "--model.encoder.pretrained", "", "--data.num_workers", 0)
    config = ROOT / "configs/benchmarks.yaml"
    assert cli("test", "--config", config, "--data.root", tmp_path, "--trainer.accelerator", "cpu", *flags) == 0
    said = capsys.readouterr().out
    for name in ("sugarcrepe/mean of 7", "sugarcrepe++/tot mean of 5", "valse/mean of 11", "coco/t2i_r@10"):
        assert name in said
    found = json.loads((tmp_path / "runs/benchmarks/version_0/test_results.json").read_text())
    rows = {name: part["rows"] for name, part in found["benchmarks"].items()}
    counts = {"listed": 21, "used": 21, "duplicates": 0, "pictures": 3, "captions": 2, "missing pictures": 0}
    assert rows["sugarcrepe"] == counts | {"examples not counted": 0, "true and false alike": 0}
    assert "sugarcrepe/mean of 3, pooled" in said
    assert found["benchmarks"]["valse"]["options"] == {
        **{"annotations": "valse", "images": None, "allow_missing": 0, "per_subset": 0},
    }
    assert rows["valse"]["used"] == 33
    scores = found["benchmarks"]["valse"]["scores"]["valse/mean of 11"]
    assert scores["n"] == 33
    assert "blind" not in found["benchmarks"]["coco"]["scores"]["coco/i2t_r@1"]


def test_nothing_to_train_on_is_said(refused, tmp_path):
    said = refused("fit", "--data.source", "OnlyBenchmarks", "--data.root", tmp_path, "--trainer.accelerator", "cpu")
    assert "data.source is OnlyBenchmarks, which is for test and validate; to train lay configs/coco.yaml" in said


def test_a_test_leaves_all_that_is_needed_to_redo_it(tested, capsys):
    found = json.loads((tested / "test_results.json").read_text())
    scenes = found["benchmarks"]["scenes"]
    score = scenes["scores"]["swap_obj"]
    assert score["n"] == 12
    assert score["low"] <= score["value"] <= score["high"]
    assert scenes["scores"]["add_obj"]["blind"] == 1.0
    assert scenes["averages"]["mean of 7"] == {
        "mean": [[name] for name in list(scenes["scores"])[:7]],
        "complete": True,
    }
    assert "blind" not in scenes["scores"]["winoground/image"]
    scoring = {"ties": "official", "resamples": 200, "seed": 0, "likelihood": "", "likelihood_per": "token"}
    assert found["scoring"] == scoring
    assert (found["model"]["name"], found["model"]["pretrained"]) == ("scenes-tiny", "base")
    assert found["model"]["preprocess"]["size"] == 64
    assert re.fullmatch("[0-9a-f]{32}", found["model"]["weights"])
    assert found["precision"] == "32-true"
    assert {"torch", "lightning_cr"} <= found["versions"].keys()
    rows = pq.read_table(tested / "examples.parquet")
    assert set(rows.column_names) == {"benchmark", "subset", "id", "cluster", "margin", "right", "truth"}
    mine = rows.filter([name == "swap_obj" for name in rows["subset"].to_pylist()])
    assert sum(mine["right"].to_pylist()) / 12 == pytest.approx(score["value"])
    table = (tested / "test_results.md").read_text().splitlines()
    assert table[0] == "|  | score | 95% interval | shorter caption | n | ties |"
    assert any(line.startswith(f"| swap_obj | {100 * score['value']:.1f} |") for line in table)
    assert r"swap\_obj & " in (tested / "test_results.tex").read_text()


def test_two_tests_are_equal_to_the_last_bit(cli, tested, tmp_path):
    assert cli("test", *SMALL, "--data.eval_batch_size", 256) == 0
    again = tmp_path / "runs/run/version_1"
    one, other = (json.loads((folder / "test_results.json").read_text()) for folder in (tested, again))
    assert one["benchmarks"] == other["benchmarks"]
    assert pq.read_table(tested / "examples.parquet").equals(pq.read_table(again / "examples.parquet"))


def changed(folder, other, subset, rights):
    """A copy of a test in which the first examples of a subset count otherwise."""
    shutil.copytree(folder, other)
    table = pq.read_table(other / "examples.parquet")
    right = table["right"].to_pylist()
    rows = [at for at, name in enumerate(table["subset"].to_pylist()) if name == subset]
    for at, value in zip(rows, rights, strict=False):
        right[at] = value
    at = table.column_names.index("right")
    pq.write_table(table.set_column(at, "right", [right]), other / "examples.parquet")
    return other / "test_results.json"


def test_compare_counts_what_flipped(cli, tested, tmp_path, capsys):
    table = pq.read_table(tested / "examples.parquet")
    before = [
        r for r, name in zip(table["right"].to_pylist(), table["subset"].to_pylist(), strict=True) if name == "swap_obj"
    ]
    other = changed(tested, tmp_path / "other", "swap_obj", [1.0] * 10 + [0.0] * 2)
    capsys.readouterr()
    assert cli("compare", tested / "test_results.json", other, "--out", tmp_path / "both") == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "both/comparison.json").read_text())["others"][str(other)]["scenes"]
    scores = {score["name"]: score for score in found}
    gained = sum(value == 0 for value in before[:10])
    lost = sum(before[10:])
    assert (scores["swap_obj"]["gained"], scores["swap_obj"]["lost"]) == (gained, lost)
    change = scores["swap_obj"]["second"] - scores["swap_obj"]["first"]
    assert change == pytest.approx((gained - lost) / 12)
    assert scores["swap_obj"]["low"] <= change <= scores["swap_obj"]["high"]
    assert scores["mean of 7"]["second"] - scores["mean of 7"]["first"] == pytest.approx(change / 7)
    assert (scores["replace_rel"]["low"], scores["replace_rel"]["high"]) == (0, 0)
    flips = [json.loads(line) for line in (tmp_path / "both/flips.jsonl").read_text().splitlines()]
    assert len(flips) == gained + lost
    assert {flip["subset"] for flip in flips} == {"swap_obj"}
    assert said.count("gained: swap_obj") == min(5, gained)
    assert (tmp_path / "both/comparison.png").stat().st_size > 5000


def test_compare_takes_what_both_have(cli, tested, tmp_path, capsys):
    shutil.copytree(tested, tmp_path / "fewer")
    table = pq.read_table(tmp_path / "fewer/examples.parquet")
    pq.write_table(table.slice(3), tmp_path / "fewer/examples.parquet")
    capsys.readouterr()
    assert cli("compare", tested / "test_results.json", tmp_path / "fewer/test_results.json") == 0
    assert "scenes: 3 examples are in one of the two only" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.json"], "compare needs two files or more, and has 1"),
        (["a.json", "b.json"], "cannot read a.json and examples.parquet beside it (No such file or directory)"),
        (["a.json", "b.json", "--resamples", "0"], "--resamples is 0; it must be 1 or more"),
    ],
)
def test_compare_refuses_in_one_line(refused, arguments, message):
    assert message in refused("compare", *arguments)


def test_compare_refuses_what_test_did_not_write(refused, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert "a.json has no benchmarks; give a test_results.json" in refused("compare", "a.json", "a.json")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda found: found["benchmarks"]["scenes"].pop("averages"), "has no object 'averages' of scenes"),
        (lambda found: found["benchmarks"]["scenes"].pop("scores"), "has no object 'scores' of scenes"),
        (lambda found: found["benchmarks"].update(scenes=[]), "has no object 'averages' of scenes"),
        (lambda found: found["benchmarks"]["scenes"].update(options=3), "has '3' as 'options' of scenes"),
        (lambda found: found.update(model="x"), "has 'x' as 'model', expected is an object"),
        (lambda found: found["benchmarks"]["scenes"]["averages"].update(m={"mean": 5}), "as the average 'm' of scenes"),
        (lambda found: found["benchmarks"]["scenes"]["averages"].update(m=[["a"]]), "as the average 'm' of scenes"),
    ],
)
def test_compare_refuses_a_record_of_another_shape(refused, tested, spoil, message):
    path = tested / "test_results.json"
    found = json.loads(path.read_text())
    spoil(found)
    path.write_text(json.dumps(found))
    said = refused("compare", path, path)
    assert f"{path} has" in said
    assert message in said
    assert "give a test_results.json that python -m lightning_cr test wrote" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["margin"]), "beside it without the column 'margin'"),
        (
            lambda table: table.set_column(4, "margin", [["x"] * len(table)]),
            "with 'margin' of type string, expected is a number in every row",
        ),
        (lambda table: table.set_column(1, "subset", [[None] * len(table)]), "with 'subset' of type null, expected is"),
    ],
)
def test_compare_refuses_examples_of_another_shape(refused, tested, change, message):
    path = tested / "examples.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    assert message in refused("compare", tested / "test_results.json", tested / "test_results.json")


def test_other_annotations_and_pictures_that_were_trained_on_are_said(cli, tmp_path, capsys):
    pictures = [f"{number:012d}.jpg" for number in (3, 5)]
    (tmp_path / "train2017").mkdir()
    for name in pictures:
        Image.new("RGB", (40, 30)).save(tmp_path / "train2017" / name)
    rows_of_every_benchmark(tmp_path, pictures)
    (tmp_path / "trained.json").write_text(json.dumps([{"image_id": 5}]))
    config = tmp_path / "pp.yaml"
    config.write_text(
        "model: {encoder: {name: photos-tiny, pretrained: ''}}\n"
        "data: {source: OnlyBenchmarks, trained_on: [trained.json], benchmarks: {pp: {class_path: SugarCrepePP,"
        " init_args: {annotations: sugarcrepe_pp}}}}\n"
    )
    path = tmp_path / "sugarcrepe_pp/swap_obj.json"
    rows = json.loads(path.read_text())
    rows[0]["negative_caption"] = rows[0]["caption2"]
    flags = ("--data.root", tmp_path, "--trainer.accelerator", "cpu")
    for found in (rows, [*rows, rows[0]]):
        path.write_text(json.dumps(found))
        capsys.readouterr()
        assert cli("test", "--config", config, *flags) == 0
    said = capsys.readouterr().out
    assert "pp: 1 rows say what another one says" in said
    assert "pp: 2 rows have a false caption that is a true one: a tie for every model" in said
    assert "pp: 1 of 2 pictures with a number in COCO are in data.trained_on, 5 of 11 rows have one" in said
    results = [tmp_path / f"runs/pp/version_{n}/test_results.json" for n in (0, 1)]
    record = json.loads(results[1].read_text())["benchmarks"]["pp"]
    assert record["trained on"] == {"pictures": 1, "rows": 5, "numbered": 2}
    assert (record["rows"]["duplicates"], record["rows"]["true and false alike"]) == (1, 2)
    assert record["files"]["swap_obj.json"]["bytes"] == path.stat().st_size
    assert cli("compare", *results) == 0
    assert "note: pp was read from other contents of swap_obj.json\n" in capsys.readouterr().out


def test_ties_can_count_otherwise(cli, tmp_path, monkeypatch):
    from lightning_cr.task import CompositionTask

    def level(self, chunk):  # every vector the same
        return chunk.rows.cpu(), torch.full((len(chunk.rows), self.encoder.dim), self.encoder.dim**-0.5)

    monkeypatch.setattr(CompositionTask, "_encode", level)
    for number, (rule, value) in enumerate((("official", 0.0), ("half", 0.5))):
        assert cli("test", *SMALL, "--data.scoring.ties", rule) == 0
        found = json.loads((tmp_path / f"runs/run/version_{number}/test_results.json").read_text())
        assert found["benchmarks"]["scenes"]["scores"]["swap_obj"]["value"] == value
        assert found["benchmarks"]["scenes"]["scores"]["swap_obj"]["ties"] == 12


def test_a_piece_without_pictures_withholds_its_means(cli, tmp_path):
    pictures = [f"{number:012d}.jpg" for number in (3, 5)]
    (tmp_path / "train2017").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "train2017" / pictures[0])
    rows_of_every_benchmark(tmp_path, pictures[:1])
    lost = {"x": {"caption": "c", "foil": "f", "mturk": {"caption": 3}, "image_file": "lost.jpg"}}
    (tmp_path / "valse/actant-swap.json").write_text(json.dumps(lost))
    config = tmp_path / "valse.yaml"
    config.write_text(
        "model: {encoder: {name: photos-tiny, pretrained: ''}}\n"
        "data: {source: OnlyBenchmarks, benchmarks: {valse: {class_path: Valse, init_args: {annotations: valse,"
        " allow_missing: 1}}}}\n"
    )
    assert cli("test", "--config", config, "--data.root", tmp_path, "--trainer.accelerator", "cpu") == 0
    found = json.loads((tmp_path / "runs/valse/version_0/test_results.json").read_text())["benchmarks"]["valse"]
    assert found["withheld"] == ["valse/mean of 11", "valse/mean of 7"]
    assert found["scores"]["valse/micro"]["n"] == 10
    assert found["rows"]["missing pictures"] == 1


def test_a_number_of_resamples_is_checked(refused):
    assert "data.scoring.resamples is -1" in refused("test", "--data.scoring.resamples", -1)


def towers(dim=8):
    """A model that is not ours: it sees the mean colour and the length of a text."""
    weight = torch.randn(3, dim, generator=torch.Generator().manual_seed(0))
    calls = {"images": 0, "texts": 0}

    def image(pixels):
        calls["images"] += len(pixels)
        return pixels.float().mean((2, 3)) @ weight

    def text(captions):
        calls["texts"] += len(captions)
        return torch.tensor([[len(t), t.count("e"), 1.0] for t in captions]) @ weight

    return image, text, calls


def test_a_model_that_is_not_ours():
    image, text, calls = towers()
    benchmarks = {"scenes": ScenesBenchmark(n=8), "again": ScenesBenchmark(n=8)}
    found = evaluate(image, text, benchmarks, PREPROCESS, batch_size=32, scoring=Scoring(resamples=50))
    scores = found["scenes"].scores
    assert scores == found["again"].scores
    assert scores["mean of 7"].n == 56
    assert scores["mean of 7"].low is not None
    pictures, captions = len(benchmarks["scenes"].pictures), len(benchmarks["scenes"].captions)
    assert calls == {"images": pictures, "texts": captions}, "each once, though two benchmarks have them"


def test_a_model_that_gives_no_vectors_is_refused():
    image, text, _ = towers()
    scenes = {"scenes": ScenesBenchmark(n=2)}
    cases = {
        r"encode_image gave a tensor of shape \(3,\) for": lambda pixels: torch.zeros(3),
        r"encode_image gave numbers that are none \(NaN or infinite\) for inputs 0 to": lambda pixels: (
            image(pixels) / 0.0
        ),
        r"encode_image gives vectors of 8 numbers, encode_text of 5": image,
    }
    for message, wrong in cases.items():
        other = (lambda captions: text(captions)[:, :5]) if wrong is image else text
        with pytest.raises(DataError, match=message):
            evaluate(wrong, other, scenes, PREPROCESS)


def test_a_benchmark_of_files_needs_a_folder():
    image, text, _ = towers()
    with pytest.raises(DataError, match=r"SugarCrepe has no pictures; set --data\.root, or its init_args\.images"):
        evaluate(image, text, {"sugarcrepe": SugarCrepe("x")}, PREPROCESS)
    with pytest.raises(ConfigError, match="resamples is -5"):
        Scoring(resamples=-5)


def test_records_say_what_they_miss(tmp_path):
    (tmp_path / "a.json").write_text("[")
    with pytest.raises(DataError, match=r"cannot read .*a\.json"):
        read_record(tmp_path / "a.json")
