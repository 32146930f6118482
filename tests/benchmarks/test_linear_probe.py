"""Linear probes against scikit-learn on real digits and on scenes, and what they do with too little to learn from."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from lightning_cr.benchmarks import LabelledArrays, LabelledScenes, LinearProbe, evaluate
from lightning_cr.benchmarks.base import NO_INTERVALS, Embedded
from lightning_cr.benchmarks.logistic import TOLERANCE, Scaling, fit
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError

PREPROCESS = Preprocess(8, (0.5,) * 3, (0.5,) * 3)
SKLEARN = "scikit-learn is not installed (extra 'measure')"


def on_pixels(benchmark, preprocess=PREPROCESS):
    """Measured on unit vectors of a picture's pixels."""
    benchmarks = {"probe": benchmark}
    found = evaluate(lambda p: p.flatten(1).float(), None, benchmarks, preprocess, scoring=NO_INTERVALS)
    return found["probe"]


def features(parts, preprocess):
    """By part, the unit vectors that the probe sees."""
    pixels = {part: torch.stack([p.pixels(preprocess) for p in found.pictures]) for part, found in parts.items()}
    return {part: normalize(found.flatten(1).float(), dim=1).double().numpy() for part, found in pixels.items()}


@pytest.fixture(scope="module")
def digits():
    data = pytest.importorskip("sklearn.datasets", reason=SKLEARN).load_digits()
    pixels, split = np.rint(data.images * 15.9375).astype(np.uint8), {"train": slice(1200), "test": slice(1200, None)}
    return LabelledArrays(
        {part: pixels[rows] for part, rows in split.items()},
        {part: data.target[rows] for part, rows in split.items()},
        "0123456789",
    )


@pytest.mark.parametrize(("standardise", "strength"), [(True, 0.01), (True, 1.0), (False, 1.0), (False, 100.0)])
def test_digits_as_scikit_learn_has_them(digits, standardise, strength):
    linear = pytest.importorskip("sklearn.linear_model", reason=SKLEARN)
    found = on_pixels(LinearProbe(digits, strengths=[strength], standardise=standardise))
    parts = digits.open(None, ("train", "test"))
    x = features(parts, PREPROCESS)
    deviation = x["train"].std(0)
    scale = np.where(deviation > 0, deviation, 1) if standardise else 1
    model = linear.LogisticRegression(C=strength, tol=1e-7, max_iter=10_000)
    model.fit(x["train"] / scale, parts["train"].labels.numpy())
    assert found.scores["probe/top-1"].value == pytest.approx(
        model.score(x["test"] / scale, parts["test"].labels.numpy()), abs=0.01
    )
    logits = np.sort(model.decision_function(x["test"] / scale), 1)
    sure = np.abs(found.judged.margin.numpy())
    assert np.abs(sure - (logits[:, -1] - logits[:, -2])).mean() < 0.05 * sure.mean()


def test_scenes_as_scikit_learn_has_them():
    linear, metrics = (pytest.importorskip(f"sklearn.{name}", reason=SKLEARN) for name in ("linear_model", "metrics"))
    data, preprocess = LabelledScenes(train=300, test=200), Preprocess(16, (0.5,) * 3, (0.5,) * 3)
    probe = LinearProbe(data, strengths=[0.01])
    scores = on_pixels(probe, preprocess).scores
    parts = data.open(None, ("train", "test"))
    x = features(parts, preprocess)
    x = {part: (rows - x["train"].mean(0)) / x["train"].std(0) for part, rows in x.items()}
    for column, name in enumerate(data.classes):
        model = linear.LogisticRegression(C=0.01, tol=1e-7, max_iter=10_000)
        model.fit(x["train"], parts["train"].labels[:, column].numpy())
        expected = metrics.average_precision_score(
            parts["test"].labels[:, column].numpy(), model.decision_function(x["test"])
        )
        assert scores[f"probe/AP {name}"].value == pytest.approx(expected, abs=0.01)
    assert probe.chosen["converged"]


def spread(count, classes, seed, dim=8):
    """Unit vectors around so many centres, and their classes."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(count) % classes
    return normalize(centres[labels] + 1.2 * torch.randn(count, dim, generator=generator), dim=1), labels


def made(labels, classes=3, **options):
    """An opened probe on so many pictures as there are labels, by part."""
    seen = iter(range(10**6))
    pictures = {}
    for part, label in labels.items():
        pictures[part] = np.zeros((len(label), 8, 8), np.uint8)
        for picture in pictures[part]:
            number = next(seen)
            picture[0, :2] = number % 256, number // 256
    names = [f"class {number}" for number in range(classes)]
    probe = LinearProbe(LabelledArrays(pictures, labels, names), **options)
    probe.open(None, PREPROCESS, None)
    return probe


def embedded(image):
    return Embedded(image, torch.zeros(0, image.shape[1]))


def test_two_fits_are_equal_to_the_last_bit():
    image, labels = spread(120, 3, 0)
    probes = [made({"train": labels[:90], "test": labels[90:]}) for _ in range(2)]
    one, other = (probe.judge(embedded(image)) for probe in probes)
    assert torch.equal(one.margin, other.margin)
    assert probes[0].chosen == probes[1].chosen
    assert len(probes[0].chosen["on validation"]) == 7


def test_the_strength_is_chosen_on_the_validation_part():
    """The first number says the class; thirty numbers of noise fit the few training pictures just as well."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(240) % 2
    image = torch.cat([(2 * labels - 1)[:, None] * 0.5, torch.randn(240, 30, generator=generator)], 1)
    parts = {"train": labels[:20], "val": labels[20:140], "test": labels[140:]}
    probe = made(parts, 2, strengths=[1e4, 1e-3], standardise=False)
    probe.judge(embedded(normalize(image, dim=1)))
    tried = probe.chosen["on validation"]
    assert list(tried) == ["0.001", "10000"]
    assert probe.chosen["C"] == max(map(float, tried), key=lambda c: tried[f"{c:g}"])
    assert tried["0.001"] != tried["10000"]
    assert probe.chosen["pictures fitted"] == 140
    alone = made({"train": labels[:140], "test": labels[140:]}, 2, strengths=[probe.chosen["C"]], standardise=False)
    again = alone.judge(embedded(normalize(image, dim=1)))
    assert torch.equal(again.margin, probe.judge(embedded(normalize(image, dim=1))).margin), "fitted on train and val"


def test_of_equally_good_ones_the_smallest_is_taken():
    labels = torch.arange(40) % 2
    image = torch.eye(2)[labels]
    probe = made({"train": labels[:20], "val": labels[20:30], "test": labels[30:]}, 2, strengths=[10.0, 0.1, 1.0])
    probe.judge(embedded(image))
    assert probe.chosen["C"] == 0.1


def test_the_part_that_is_held_back_has_the_share_of_each_class():
    labels = torch.tensor([0] * 50 + [1] * 10 + [2])
    probe = made({"train": labels, "test": torch.tensor([0, 1, 2])}, share=0.3)
    train, val = probe._divided(probe.rows["train"])
    assert torch.bincount(val.labels, minlength=3).tolist() == [15, 3, 0]
    assert sorted([*train.picture.tolist(), *val.picture.tolist()]) == list(range(61))
    other = made({"train": labels, "test": torch.tensor([0, 1, 2])}, share=0.3, seed=1)
    assert other._divided(other.rows["train"])[1].ids != val.ids
    image = torch.eye(3)[torch.cat([labels, torch.tensor([0, 1, 2])])]
    assert probe.score(probe.judge(embedded(image)))["probe/top-1"].n == 3
    assert probe.chosen["pictures fitted"] == 61


def test_pairs_that_nothing_is_said_of_are_not_learned_from():
    linear = pytest.importorskip("sklearn.linear_model", reason=SKLEARN)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(80, 5, generator=generator, dtype=torch.float64)
    labels = (x @ torch.randn(5, 2, generator=generator, dtype=torch.float64) > 0).to(torch.int8)
    labels[torch.rand(80, 2, generator=generator) < 0.3] = -1
    found = fit(x, labels, 2, 0.5, 1000)
    for column in range(2):
        said = labels[:, column] >= 0
        model = linear.LogisticRegression(C=0.5, tol=1e-9, max_iter=1000).fit(x[said], labels[said, column])
        assert found.weight[:, column].tolist() == pytest.approx(model.coef_[0].tolist(), abs=2e-3)
        assert float(found.bias[column]) == pytest.approx(model.intercept_[0], abs=2e-3)


def test_the_gradient_is_that_of_the_loss():
    """At the end of a fit no direction lowers the objective as it is written down."""
    image, labels = spread(60, 3, 1)
    x = image.double()
    found = fit(x, labels, 3, 2.0, 1000)
    assert found.converged

    def objective(weight, bias):
        return (
            2.0 * torch.nn.functional.cross_entropy(x @ weight + bias, labels, reduction="sum")
            + weight.pow(2).sum() / 2
        )

    weight, bias = found.weight.clone().requires_grad_(), found.bias.clone().requires_grad_()
    objective(weight, bias).backward()
    assert float(weight.grad.abs().max()) <= 2.0 * 60 * TOLERANCE * 1.01
    assert float(bias.grad.abs().max()) <= 2.0 * 60 * TOLERANCE * 1.01


@pytest.mark.parametrize("several", [False, True])
def test_the_size_of_a_block_changes_next_to_nothing(monkeypatch, several):
    from lightning_cr.benchmarks import logistic

    image, labels = spread(60, 3, 1)
    given = torch.eye(3, dtype=torch.int8)[labels] if several else labels
    whole = fit(image.double(), given, 3, 1.0, 1000)
    monkeypatch.setattr(logistic, "_AT_ONCE", 3 * 7)
    blocks = fit(image.double(), given, 3, 1.0, 1000)
    assert torch.allclose(whole.weight, blocks.weight, atol=1e-6)


def test_scaling_by_one_number_changes_no_solution():
    image, labels = spread(90, 3, 2)
    x = image.double() * 0.05 + 0.3  # small, and with a large mean
    scaling = Scaling(x, each=False)
    scaled = fit(scaling(x), labels, 3, 50.0 * scaling.factor, 5000)
    plain = fit(x, labels, 3, 50.0, 5000)
    assert torch.allclose(scaled(scaling(x)).softmax(1), plain(x).softmax(1), atol=2e-3)
    assert scaled.steps < plain.steps


def test_what_has_not_converged_is_told(caplog):
    image, labels = spread(60, 3, 0)
    probe = made({"train": labels[:45], "test": labels[45:]}, strengths=[10.0], max_steps=2)
    probe.judge(embedded(image))
    assert "probe: L-BFGS has not converged at C 10: after 2 steps the gradient is" in caplog.text
    assert (probe.chosen["converged"], probe.chosen["steps"]) == (False, 2)


def test_pictures_that_could_not_be_read_are_neither_learned_from_nor_counted():
    image, labels = spread(60, 3, 0)
    parts = {"train": labels[:45], "test": labels[45:]}
    lost = image.clone()
    lost[[3, 20, 50]] = torch.nan
    probe = made(parts, strengths=[1.0])
    score = probe.score(probe.judge(embedded(lost)))["probe/top-1"]
    assert score.n == 14
    assert probe.chosen["pictures fitted"] == 43
    lost[45:] = torch.nan
    with pytest.raises(DataError, match="LinearProbe has nothing to score"):
        probe.score(probe.judge(embedded(lost)))
    lost[5, 0] = torch.inf
    with pytest.raises(DataError, match="probe: the vectors of 1 of 60 pictures are NaN or infinite"):
        probe.judge(embedded(lost))


def test_what_cannot_be_learned_is_refused():
    image, labels = spread(60, 3, 0)
    cases = [
        ({"train": labels[:45] * 0, "test": labels[45:]}, {}, "the 45 pictures to learn from are of 1 class; two or"),
        (
            {"train": labels[:45] % 2, "test": labels[45:]},
            {},
            "1 classes of the test have no picture to learn from: cl",
        ),
        ({"train": torch.arange(3), "test": labels[3:]}, {}, "of 3 pictures none can be held back to choose C by"),
    ]
    for parts, options, message in cases:
        with pytest.raises(DataError, match=message):
            made(parts, **options).judge(embedded(image))
    several = torch.eye(3)[labels].long()
    several[:45, 1] = 0
    with pytest.raises(DataError, match="1 classes of the test are on no picture, or on all to learn from: class 1"):
        made({"train": several[:45], "test": several[45:]}).judge(embedded(image))
    only = made({"train": torch.arange(3), "test": labels[3:]}, strengths=[1.0])
    assert only.score(only.judge(embedded(image)))["probe/top-1"].n == 57, "one picture of each class is enough"


def test_a_test_that_is_learned_from_is_told(caplog):
    grey = np.arange(6 * 64, dtype=np.uint16).reshape(6, 8, 8).astype(np.uint8)
    grey[:, 0, 0] = range(6)
    pictures = {"train": grey[:4], "val": grey[3:5], "test": grey[3:]}
    labels = {"train": [0, 1, 0, 1], "val": [1, 0], "test": [1, 0, 1]}
    LinearProbe(LabelledArrays(pictures, labels, "ab")).open(None, PREPROCESS, None)
    assert "probe: 2 of the 3 pictures of the test are among those to learn from, too" in caplog.text
    caplog.clear()
    LinearProbe(LabelledArrays(pictures | {"test": grey[5:]}, labels | {"test": [1]}, "ab")).open(
        None, PREPROCESS, None
    )
    assert "among those" not in caplog.text


def test_numbers_are_checked():
    data = LabelledScenes(train=2, test=2)
    with pytest.raises(ConfigError, match=r"strengths of probe are \[1\.0, -1\.0\]; each C must be above 0"):
        LinearProbe(data, strengths=[1.0, -1.0])
    with pytest.raises(ConfigError, match=r"strengths of probe are \[\]"):
        LinearProbe(data, strengths=[])
    with pytest.raises(ConfigError, match=r"probe has share 1\.0 and max_steps 5; allowed are above 0 and below 1"):
        LinearProbe(data, share=1.0, max_steps=5)


def test_a_validation_part_without_labels_is_told():
    pictures = {part: np.arange(n * 64).reshape(n, 8, 8).astype(np.uint8) for part, n in PARTS.items()}
    labels = {part: np.zeros((n, 2), int) for part, n in PARTS.items()}
    for part in ("train", "test"):
        labels[part][0] = labels[part][1, 1] = 1
    with pytest.raises(DataError, match="the 3 pictures to choose C by have none of the labels; give init_args"):
        on_pixels(LinearProbe(LabelledArrays(pictures, labels, ["a", "b"])))


PARTS = {"train": 6, "val": 3, "test": 4}


@pytest.mark.parametrize("several", [False, True])
def test_the_strongest_regularisation_takes_few_steps(several):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 20, generator=generator, dtype=torch.float64)
    labels = (torch.rand(200, 3, generator=generator) < torch.tensor([0.1, 0.3, 0.9])).long()
    found = fit(features, labels if several else labels[:, 0], 3 if several else 2, 1e-5, 1000)
    assert found.converged
    assert found.steps <= 10
