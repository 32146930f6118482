"""What a language model says of captions without their pictures, and what a benchmark that it solves shows of that."""

import json
import sys

import pytest
import torch

from lightning_cr.benchmarks import ScenesBenchmark, SugarCrepePP, evaluate, likelihood
from lightning_cr.benchmarks.base import Scoring
from lightning_cr.benchmarks.likelihood import likelihoods
from lightning_cr.benchmarks.sugarcrepe import SEVEN
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError
from tests.fill.tiny_models import bert, gpt2

CAPTIONS = [
    "a dog on a bed",
    "a bed on a dog",
    "",
    "two cats are sleeping under the old wooden table",
    "a",
    " ".join(["word"] * 40),  # longer than the model's context
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(gpt2(tmp_path_factory.mktemp("gpt2"), CAPTIONS))


def one_by_one(folder, text, per):
    """The same by the chain rule, token by token, without batches or padding."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, net = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]][:24]
    with torch.no_grad():
        steps = [
            float(net(input_ids=torch.tensor([ids[:at]])).logits[0, -1].log_softmax(-1)[ids[at]])
            for at in range(1, len(ids))
        ]
    return sum(steps) / (len(steps) if per == "token" else 1)


@pytest.mark.parametrize("per", ["token", "caption"])
@pytest.mark.parametrize("at_once", [1, 30, 2048])
def test_likelihoods_are_those_of_the_chain_rule(model, per, at_once, monkeypatch):
    monkeypatch.setattr(likelihood, "_TOKENS_AT_ONCE", at_once)
    found = likelihoods(CAPTIONS, Scoring(likelihood=model, likelihood_per=per))
    assert list(found) == CAPTIONS
    for text in CAPTIONS:
        if text:
            assert found[text] == pytest.approx(one_by_one(model, text, per), abs=1e-4), text
        else:
            assert found[text] != found[text], "a caption without words is not judged"


def test_none_is_asked_for_and_none_are_there(model):
    assert likelihoods(CAPTIONS, Scoring()) is None
    assert likelihoods([], Scoring(likelihood=model)) == {}


def test_the_column_is_what_the_likelier_caption_gets(model):
    def image(pixels):
        return pixels.float().mean((2, 3))

    def text(captions):
        return torch.tensor([[len(caption), 1.0, 2.0] for caption in captions])

    scoring = Scoring(resamples=50, likelihood=model)
    benchmark = ScenesBenchmark(n=30)
    found = evaluate(image, text, {"scenes": benchmark}, Preprocess(32, (0.5,) * 3, (0.5,) * 3), scoring=scoring)
    measured = found["scenes"]
    value = likelihoods(benchmark.captions, scoring)
    items = benchmark._items["replace_obj"].tolist()
    expected = [
        (lambda a, b: 1.0 if a > b else 0.5 if a == b else 0.0)(
            value[benchmark.captions[item[1]]], value[benchmark.captions[item[-1]]]
        )
        for item in items
    ]
    assert 0 < sum(expected) < len(expected), "else this test says little"
    assert measured.likelihood["replace_obj"].value == pytest.approx(sum(expected) / len(expected))
    assert measured.likelihood.keys() == measured.blind.keys()
    assert "winoground/image" not in measured.likelihood
    without = evaluate(image, text, {"s": ScenesBenchmark(n=2)}, Preprocess(32, (0.5,) * 3, (0.5,) * 3))
    assert without["s"].likelihood == {}


def test_each_caption_is_read_once(model, monkeypatch):
    seen = []
    whole = likelihood._log_probability
    monkeypatch.setattr(
        likelihood, "_log_probability", lambda net, rows, device: seen.extend(rows) or whole(net, rows, device)
    )

    def vectors(rows):
        return torch.ones(len(rows), 4)

    benchmarks = {"scenes": ScenesBenchmark(n=5), "again": ScenesBenchmark(n=5)}
    preprocess = Preprocess(32, (0.5,) * 3, (0.5,) * 3)
    evaluate(vectors, vectors, benchmarks, preprocess, scoring=Scoring(resamples=0, likelihood=model))
    assert len(seen) == len(benchmarks["scenes"].captions)


def test_it_is_printed_and_written(cli, tmp_path, model, capsys):
    small = ("--data.benchmarks.scenes.init_args.n", 4, "--trainer.accelerator", "cpu", "--data.scoring.resamples", 20)
    assert cli("test", *small, "--data.scoring.likelihood", model) == 0
    assert "likelier caption" in capsys.readouterr().out
    folder = tmp_path / "runs/run/version_0"
    found = json.loads((folder / "test_results.json").read_text())
    assert found["scoring"]["likelihood"] == model
    score = found["benchmarks"]["scenes"]["scores"]["swap_obj"]
    lines = (folder / "test_results.md").read_text().splitlines()
    assert lines[0] == "|  | score | 95% interval | shorter caption | likelier caption | n | ties |"
    row = next(line for line in lines if line.startswith("| swap_obj |"))
    shown = [f"{100 * score[key]:.1f}" for key in ("blind", "likelihood")]
    assert row.split(" | ")[3:5] == shown
    assert {line.count("|") for line in lines} == {8}
    tex = (folder / "test_results.tex").read_text()
    assert r"\begin{tabular}{lrrrrrr}" in tex
    assert "shorter caption & likelier caption & n" in tex


def test_two_true_captions_must_both_be_likelier(tmp_path, model):
    texts = CAPTIONS[:2] + CAPTIONS[3:4]
    value = likelihoods(texts, Scoring(likelihood=model))
    ranked = sorted(texts, key=value.get)
    orders = [(ranked[2], ranked[1], ranked[0]), (ranked[2], ranked[0], ranked[1]), (ranked[2], ranked[2], ranked[2])]
    keys = ("caption", "caption2", "negative_caption")
    rows = [{"id": n, "filename": "1.jpg", **dict(zip(keys, o, strict=True))} for n, o in enumerate(orders)]
    for part in SEVEN[:5]:
        (tmp_path / f"{part}.json").write_text(json.dumps(rows))
    (tmp_path / "1.jpg").touch()
    benchmark = SugarCrepePP(str(tmp_path))
    benchmark.open(tmp_path, Preprocess(32, (0.5,) * 3, (0.5,) * 3), None)
    from lightning_cr.benchmarks.base import Embedded
    from lightning_cr.benchmarks.evaluate import measure

    vectors = Embedded(torch.ones(1, 2), torch.ones(len(benchmark.captions), 2))
    found = measure(benchmark, vectors, Scoring(resamples=5), value).likelihood
    assert found["sugarcrepe++/itt swap_obj"].value == pytest.approx(1 / 3), "a tie is not half right by chance"
    assert "sugarcrepe++/tot swap_obj" not in found


def test_models_that_cannot_do_it_are_refused_before_anything_is_encoded(refused, tmp_path, monkeypatch, capsys):
    from lightning_cr.task import CompositionTask

    monkeypatch.setattr(CompositionTask, "_encode", None)  # would be called, and break
    flags = ("--data.benchmarks.scenes.init_args.n", 2, "--trainer.accelerator", "cpu", "--data.scoring.likelihood")
    folder = bert(tmp_path / "bert")
    capsys.readouterr()  # what saving it says
    said = refused("test", *flags, folder)
    assert "bert' does not read from left to right; use gpt2" in said
    said = refused("test", *flags, "no-such-model")
    assert (
        "data.scoring.likelihood 'no-such-model' is no folder and not in the cache; with a network, run once:" in said
    )
    assert "AutoModelForCausalLM.from_pretrained('no-such-model')" in said
    (tmp_path / "empty").mkdir()
    said = refused("test", *flags, tmp_path / "empty")
    assert "empty'" in said


def test_without_transformers_the_install_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"'transformers', which is not installed; run: pip install .*\[mlm\]"):
        likelihoods(["a"], Scoring(likelihood="x"))


def test_a_broken_folder_is_said(model, tmp_path):
    import shutil

    shutil.copytree(model, tmp_path / "broken")
    (tmp_path / "broken/model.safetensors").write_bytes(b"x")
    with pytest.raises(DataError, match=r"broken' cannot be read \(.*\); save it there again"):
        likelihoods(["a"], Scoring(likelihood=str(tmp_path / "broken")))
