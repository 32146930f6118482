"""Zero-shot classification on vectors that are known, with ties, and on the real files of names and templates."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from lightning_cr.benchmarks import LabelledArrays, ZeroShot
from lightning_cr.benchmarks.base import Embedded, Measurement, Scoring
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError

DATA = Path(os.environ.get("LIGHTNING_CR_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "zeroshot"
REAL = pytest.mark.skipif(not DATA.is_dir(), reason=f"no files in {DATA}; set LIGHTNING_CR_TEST_DATA")
PREPROCESS = Preprocess(8, (0.5,) * 3, (0.5,) * 3)


def opened(labels, names, **options):
    """On so many different pictures as there are labels."""
    pictures = np.arange(len(labels) * 64, dtype=np.uint16).reshape(-1, 8, 8).astype(np.uint8)
    pictures[:, 0, 0] = np.arange(len(labels)) % 256
    pictures[:, 0, 1] = np.arange(len(labels)) // 256
    benchmark = ZeroShot(LabelledArrays({"test": pictures}, {"test": labels}, names), **options)
    benchmark.open(None, PREPROCESS, None)
    return benchmark


def unit(count, seed, dim=6):
    return normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_by_hand():
    """Prototypes along the axes and their bisector; each class has two sentences that are mirrored about it."""
    benchmark = opened([0, 0, 1, 1, 2], ["the_x", "y", "d"], templates=["a {c}.", "{c}: the {c}"])
    assert benchmark.captions == ["a the x.", "the x: the the x", "a y.", "y: the y", "a d.", "d: the d"]
    angles = torch.tensor([10.0, -10.0, 110.0, 70.0, 45.0 + 30, 45.0 - 30]).deg2rad()
    text = torch.stack([angles.cos(), angles.sin()], 1)
    seen = torch.tensor([-20.0, 40.0, 90.0, 22.5, 45.0]).deg2rad()
    image = torch.stack([seen.cos(), seen.sin()], 1)
    judged = benchmark.judge(Embedded(image, text))
    # at 40 degrees the bisector is nearer than x, and at 22.5 y is not among the two nearest
    near = np.deg2rad([[-20, 40, 0, 22.5, 0], [-65, 5, 45, 22.5, 45]])
    expected = [np.cos(near[0, 0]) - np.cos(near[1, 0]), np.cos(near[0, 1]) - np.cos(near[1, 1])]
    expected += [1 - np.cos(near[1, 2]), np.cos(np.deg2rad(67.5)) - np.cos(near[0, 3]), 1 - np.cos(near[1, 4])]
    assert judged.margin.tolist() == pytest.approx(expected, abs=1e-6)
    scores = benchmark.score(judged)
    assert scores["zero-shot/top-1"].value == pytest.approx(3 / 5)
    assert scores["zero-shot/mean per-class recall"].value == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert "zero-shot/top-5" not in scores
    assert (benchmark.headline, benchmark.blind) == ("zero-shot/top-1", "")


def test_top_5_is_shown_also_of_many_classes():
    benchmark = opened(list(range(30)), [f"c{n}" for n in range(30)])
    judged = benchmark.judge(Embedded(unit(30, 1), unit(30, 2)))
    measurement = Measurement(judged, benchmark.score(judged), {})
    assert benchmark.shown(measurement) == [f"zero-shot/{name}" for name in ("top-5", "top-1", "mean per-class recall")]


def test_classes_with_the_same_sentences_are_told(caplog):
    opened([0, 1, 2], ["crane", "dog", "crane "], classes=["crane", "dog", "crane"])
    assert "classes with the same sentences are never told apart: crane, crane ; give init_args.classes" in caplog.text


def test_a_tie_is_wrong_unless_asked_for():
    benchmark = opened([0, 1], ["a", "b"])
    judged = benchmark.judge(Embedded(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])))
    assert judged.margin.tolist() == [0, 0]
    for rule, value in (("official", 0.0), ("strict", 0.0), ("half", 0.5)):
        assert benchmark.score(judged, Scoring(rule, 0))["zero-shot/top-1"].value == value


@pytest.mark.parametrize("at_once", [1, 7 * 5, 1 << 24])
def test_top_5_equals_a_naive_loop(monkeypatch, at_once):
    from lightning_cr.benchmarks import decisions

    monkeypatch.setattr(decisions, "_AT_ONCE", at_once)
    labels = torch.randint(7, (40,), generator=torch.Generator().manual_seed(0))
    benchmark = opened(labels.tolist(), list("abcdefg"))
    image, text = unit(40, 1), unit(7, 2)
    scores = benchmark.score(benchmark.judge(Embedded(image, text)))
    order = (image @ text.T).argsort(1, descending=True)
    assert scores["zero-shot/top-1"].value == pytest.approx(float((order[:, 0] == labels).double().mean()))
    assert scores["zero-shot/top-5"].value == pytest.approx(
        float((order[:, :5] == labels[:, None]).any(1).double().mean())
    )
    assert scores["zero-shot/top-5"].n == 40
    recalls = [float((order[labels == c, 0] == c).double().mean()) for c in labels.unique()]
    assert scores["zero-shot/mean per-class recall"].value == pytest.approx(sum(recalls) / len(recalls))


def test_of_five_classes_all_are_among_five():
    benchmark = opened([0, 1, 2, 3, 4], list("abcde"))
    assert benchmark.score(benchmark.judge(Embedded(unit(5, 1), unit(5, 2))))["zero-shot/top-5"].value == 1


def test_several_labels_are_ranked_by_cosine():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed (extra 'measure')")
    labels = (torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) < 0.4).long()
    benchmark = opened(labels.tolist(), list("abc"))
    image, text = unit(50, 1), unit(3, 2)
    judged = benchmark.judge(Embedded(image, text))
    scores = benchmark.score(judged)
    expected = metrics.average_precision_score(labels.numpy(), (image @ text.T).numpy(), average=None)
    assert [scores[f"zero-shot/AP {c}"].value for c in "abc"] == pytest.approx(expected.tolist())
    assert scores["zero-shot/mAP"].value == pytest.approx(expected.mean())
    assert benchmark.headline == "zero-shot/mAP"
    for column in range(3):
        above = judged.value.reshape(3, 50)[column] > 0
        assert int(above.sum()) == int(labels[:, column].sum()), "as many are called positive as are"


def test_a_pair_that_nothing_is_said_of_does_not_count():
    labels = [[1, -1], [0, 1], [-1, 0], [0, 1]]
    benchmark = opened(labels, ["a", "b"])
    image = torch.tensor([[0.6, 0.8], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    scores = benchmark.score(benchmark.judge(Embedded(image, torch.eye(2))))
    assert (scores["zero-shot/AP a"].n, scores["zero-shot/AP b"].n) == (3, 3)
    assert scores["zero-shot/AP a"].value == pytest.approx(1 / 2)
    assert scores["zero-shot/AP b"].value == pytest.approx(
        (1 + 2 / 3) / 2
    )  # the second positive is tied with a negative


def test_a_class_without_pictures_is_told_and_left_out(caplog):
    benchmark = opened([0, 0, 2], ["a", "b", "c"])
    assert "zero-shot: 1 of 3 classes have no picture in the test, and are left out of the mean over" in caplog.text
    scores = benchmark.score(benchmark.judge(Embedded(torch.eye(3)[[0, 1, 2]], torch.eye(3))), Scoring(resamples=20))
    assert scores["zero-shot/mean per-class recall"].value == pytest.approx((1 / 2 + 1) / 2)
    assert "zero-shot/recall b" not in scores
    several = opened([[1, 0], [0, 0]], ["a", "b"])
    scores = several.score(several.judge(Embedded(torch.eye(2), torch.eye(2))))
    assert scores["zero-shot/mAP"].value == 1
    assert "zero-shot/AP b" not in scores


def test_pictures_that_could_not_be_read_are_left_out():
    benchmark = opened([0, 1, 1], ["a", "b"])
    image = torch.tensor([[torch.nan] * 2, [0.0, 1.0], [1.0, 0.0]])
    score = benchmark.score(benchmark.judge(Embedded(image, torch.eye(2))))["zero-shot/top-1"]
    assert (score.value, score.n) == (0.5, 2)


@pytest.mark.parametrize(
    ("image", "text", "message"),
    [
        ([[1.0, torch.nan], [0.0, 1.0]], torch.eye(2), "vectors of 1 of 2 pictures are NaN or infinite"),
        ([[1.0, torch.inf], [0.0, 1.0]], torch.eye(2), "vectors of 1 of 2 pictures are NaN or infinite"),
        (torch.eye(2), [[torch.nan] * 2, [0.0, 1.0]], "vectors of 1 of 2 captions are NaN or infinite"),
    ],
)
def test_vectors_that_are_no_number_are_an_error(image, text, message):
    benchmark = opened([0, 1], ["a", "b"])
    with pytest.raises(DataError, match=message):
        benchmark.judge(Embedded(torch.as_tensor(image), torch.as_tensor(text)))


@REAL
def test_names_and_templates_of_clip_benchmark():
    files = {
        "templates": str(DATA / "en_zeroshot_classification_templates.json"),
        "classes": str(DATA / "en_classnames.json"),
    }
    benchmark = opened([0, 1], [f"n{number:04d}" for number in range(1000)], key="imagenet1k", **files)
    assert len(benchmark.captions) > 79_000
    assert benchmark.captions[0] == "a bad photo of a tench."
    assert not benchmark.prints_subsets
    with pytest.raises(ConfigError, match=r"has no data set 'imagenet1m'\. Did you mean 'imagenet1k'\?"):
        opened([0, 1], list("ab"), key="imagenet1m", **files)
    with pytest.raises(DataError, match=r"there are 10 names for 2 classes \(a, b, \.\.\.\)"):
        opened([0, 1], list("ab"), key="eurosat", **files)


def test_files_and_sentences_of_another_shape(tmp_path):
    with pytest.raises(ConfigError, match=r"templates has 'a photo', in which no class can be put; write \{c\}"):
        opened([0, 1], list("ab"), templates=["a photo"])
    with pytest.raises(ConfigError, match="templates is empty"):
        opened([0, 1], list("ab"), templates=[])
    path = tmp_path / "templates.json"
    path.write_text(json.dumps({"pets": "a {c}"}))
    with pytest.raises(DataError, match=r"'pets' is no list of texts"):
        opened([0, 1], list("ab"), templates=str(path), key="pets")
    with pytest.raises(DataError, match=r"there is no file .*absent\.json; fetch en_classnames\.json and"):
        opened([0, 1], list("ab"), templates=str(tmp_path / "absent.json"), key="pets")
