"""Average precision by hand, against two libraries and a naive loop; through the files of a test and a comparison."""

import json
from fractions import Fraction

import pytest
import torch

from lightning_cr.benchmarks.averages import Mean, Precision, Tally, bootstrapped
from lightning_cr.benchmarks.base import Benchmark, Judged, Measurement, Scoring
from lightning_cr.benchmarks.records import read_record, record, write_examples
from lightning_cr.compare.paired import differences

SCORING = Scoring(resamples=150, seed=3)


class Ranked(Benchmark):
    """Two labels and their mean average precision."""

    def __init__(self, interpolation="none"):
        each = {name: Precision(name, interpolation) for name in ("cat", "dog")}
        self.averages = {**each, "mAP": Mean(tuple(each.values()), complete=False), "pooled": ("cat", "dog")}

    def open(self, root, preprocess, held_out):
        pass

    def judge(self, similarity):
        raise AssertionError


def judged(values, truths, clusters=None):
    """From decision values and labels, ``(pictures, 2)``."""
    value, truth = torch.as_tensor(values).float().T, torch.as_tensor(truths).bool().T
    pictures = value.shape[1]
    cluster = torch.arange(pictures) if clusters is None else clusters
    return Judged(
        ["cat", "dog"],
        torch.arange(2).repeat_interleave(pictures),
        torch.where(truth, value, -value).reshape(-1),
        cluster.repeat(2),
        [str(i) for i in range(pictures)] * 2,
        truth.reshape(-1),
    )


def naive(values, truth, points=False):
    """The definition, in fractions."""
    curve = []
    for level in sorted(set(values), reverse=True):
        above = [t for v, t in zip(values, truth, strict=True) if v >= level]
        curve.append((Fraction(sum(above), sum(truth)), Fraction(sum(above), len(above))))
    if points:
        return float(sum(max(p for r, p in curve if r >= Fraction(tenth, 10)) for tenth in range(11)) / 11)
    recalls = [Fraction(0), *(r for r, _ in curve)]
    return float(sum((r - before) * p for before, (r, p) in zip(recalls, curve, strict=False)))


def rated(pictures, seed, levels=8):
    """Values with many ties, and labels."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-levels, levels, (pictures, 2), generator=generator) / levels
    return values, torch.rand(pictures, 2, generator=generator) < 0.3


@pytest.mark.parametrize(
    ("values", "truth", "plain", "points"),
    [
        ([3.0, 2.0, 2.0, 1.0], [0, 1, 0, 1], 1 / 2 * 1 / 3 + 1 / 2 * 1 / 2, 1 / 2),
        ([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [1, 0, 1, 0, 0, 1], (1 + 2 / 3 + 1 / 2) / 3, (4 * 1 + 3 * 2 / 3 + 4 / 2) / 11),
        ([1.0, 1.0, 1.0, 1.0], [1, 0, 0, 0], 1 / 4, 1 / 4),
        # the third of ten positives is at a recall of 0.3, which 3 * 0.1 is not
        ([float(-i) for i in range(14)], [1] * 3 + [0] * 4 + [1] * 7, None, (4 * 1 + 7 * 10 / 14) / 11),
    ],
)
def test_by_hand(values, truth, plain, points):
    both = judged([[v, v] for v in values], [[t, t] for t in truth])
    if plain is not None:
        assert Ranked().score(both)["cat"].value == pytest.approx(plain)
    assert Ranked("11 points").score(both)["dog"].value == pytest.approx(points)


@pytest.mark.parametrize("seed", range(5))
def test_equals_two_libraries_and_the_definition(seed):
    from torchmetrics.functional.classification import binary_average_precision

    values, truth = rated(60, seed)
    scores = Ranked().score(judged(values, truth))
    points = Ranked("11 points").score(judged(values, truth))
    for column, name in enumerate(("cat", "dog")):
        v, t = values[:, column], truth[:, column]
        assert scores[name].value == pytest.approx(float(binary_average_precision((v + 1) / 2, t.long())), abs=1e-6)
        assert scores[name].value == pytest.approx(naive(v.tolist(), t.tolist()))
        assert points[name].value == pytest.approx(naive(v.tolist(), t.tolist(), points=True))
    assert scores["mAP"].value == pytest.approx((scores["cat"].value + scores["dog"].value) / 2)
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed (extra 'measure')")
    assert scores["mAP"].value == pytest.approx(metrics.average_precision_score(truth.numpy(), values.numpy()))


def test_a_decision_value_of_zero_is_no_tie_of_a_ranking():
    scores = Ranked().score(judged([[0.0, 1.0], [0.0, -1.0]], [[True, False], [False, True]]))
    assert (scores["cat"].ties, scores["mAP"].ties, scores["pooled"].ties) == (0, 0, 2)


def test_what_is_not_counted_is_not_ranked():
    values, truth = rated(40, 1)
    whole = judged(values, truth)
    margin = whole.margin.clone()
    margin[5:15] = torch.nan
    found = Ranked().score(Judged(whole.subsets, whole.subset, margin, whole.cluster, whole.ids, whole.truth))
    kept = [*range(5), *range(15, 40)]
    assert found["cat"].value == pytest.approx(naive(values[kept, 0].tolist(), truth[kept, 0].tolist()))
    assert (found["cat"].n, found["dog"].n, found["mAP"].n) == (30, 40, 70)


def test_a_label_that_no_picture_has_is_withheld():
    values, truth = rated(30, 2)
    truth[:, 1] = False
    scores = Ranked().score(judged(values, truth), SCORING)
    assert list(scores) == ["cat", "mAP", "pooled"]
    assert scores["mAP"].value == scores["cat"].value
    assert scores["mAP"].n == 30


def moved(drawn, value, least):
    """The middle 95% of what was drawn, moved so that its mean is the value."""
    draws = torch.tensor(drawn, dtype=torch.float64)
    draws = (draws + value - draws.nanmean()).clamp(least, 1)
    return tuple(torch.nanquantile(draws, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist())


@pytest.mark.parametrize("interpolation", ["none", "11 points"])
def test_the_bootstrap_equals_a_naive_loop(interpolation):
    values, truth = rated(36, 4)
    cluster = torch.arange(36) // 3  # rows of one picture are drawn together
    found = Ranked(interpolation).score(judged(values, truth, cluster), SCORING)
    picks = torch.randint(12, (SCORING.resamples, 12), generator=torch.Generator().manual_seed(SCORING.seed)).tolist()
    drawn = {"cat": [], "dog": [], "mAP": []}
    for pick in picks:
        rows = [3 * c + i for c in pick for i in range(3)]
        both = []
        for column, name in enumerate(("cat", "dog")):
            v, t = values[rows, column].tolist(), truth[rows, column].tolist()
            both.append(naive(v, t, interpolation != "none") if any(t) else torch.nan)
            drawn[name].append(both[-1])
        drawn["mAP"].append(float(torch.tensor(both, dtype=torch.float64).nanmean()))
    for name, parts in drawn.items():
        assert (found[name].low, found[name].high) == pytest.approx(moved(parts, found[name].value, 0))
    assert found["mAP"].low < found["mAP"].value < found["mAP"].high


def test_sums_that_no_dense_table_would_hold():
    size = 200_000  # pictures and subsets: 320 GB each, were they dense
    right = (torch.arange(size) % 2).double()
    tally = Tally.of(right, right == 2, torch.arange(size), torch.arange(size), size)
    averages, place = {"all": ("a", "b"), "mean": Mean((("a",), ("b",)))}, {"a": 0, "b": 1}
    assert tally.values(averages, place)["all"] == (0.5, 2, 0)
    low, high = bootstrapped(tally, averages, place, 4, seed=0)["mean"]
    assert 0 <= low <= high <= 1


def written(folder, benchmark, examples):
    """A test as ``test`` leaves it, read again."""
    folder.mkdir()
    measured = {"pets": Measurement(examples, benchmark.score(examples, SCORING), {})}
    (folder / "test_results.json").write_text(
        json.dumps({"benchmarks": record({"pets": benchmark}, measured, SCORING)}, allow_nan=False)
    )
    write_examples(folder / "examples.parquet", {"pets": benchmark}, measured, SCORING)
    return read_record(folder / "test_results.json")


@pytest.mark.parametrize("interpolation", ["none", "11 points"])
def test_the_files_of_a_test_give_the_same_scores(tmp_path, interpolation):
    benchmark, examples = Ranked(interpolation), judged(*rated(50, 6))
    found = written(tmp_path / "one", benchmark, examples)
    read, _ = found.of("pets")
    assert found.averages("pets") == benchmark.averages
    assert torch.equal(read.truth, examples.truth)
    assert torch.equal(read.value, examples.value)
    assert benchmark.score(read, SCORING) == benchmark.score(examples, SCORING)


def test_a_file_of_before_there_were_labels(tmp_path):
    import pyarrow.parquet as pq

    found = written(tmp_path / "one", Ranked(), judged(*rated(10, 6)))
    table = pq.read_table(tmp_path / "one/examples.parquet").drop_columns("truth")
    pq.write_table(table, tmp_path / "one/examples.parquet")
    assert read_record(found.path).of("pets")[0].truth is None


def test_two_tests_are_compared_in_the_same_resamples(tmp_path):
    benchmark = Ranked()
    (values, truth), (others, _) = rated(48, 7), rated(48, 8)
    cluster = torch.arange(48) // 2
    one = written(tmp_path / "one", benchmark, judged(values, truth, cluster))
    other = written(tmp_path / "other", benchmark, judged(others, truth, cluster))
    found, flips, alone = differences(one, other, "pets", 100, 0)
    by_name = {score.name: score for score in found}
    before, after = (benchmark.score(judged(v, truth, cluster)) for v in (values, others))
    for name in ("cat", "dog", "mAP", "pooled"):
        assert (by_name[name].first, by_name[name].second) == (before[name].value, after[name].value)
    assert alone == 0
    assert {flip.subset for flip in flips} == {"cat", "dog"}
    assert by_name["cat"].gained == sum(flip.gained for flip in flips if flip.subset == "cat")
    picks = torch.randint(24, (100, 24), generator=torch.Generator().manual_seed(0)).tolist()
    drawn = []
    for pick in picks:
        rows = [2 * c + i for c in pick for i in range(2)]
        t = truth[rows, 0].tolist()
        drawn.append(naive(others[rows, 0].tolist(), t) - naive(values[rows, 0].tolist(), t) if any(t) else torch.nan)
    change = by_name["cat"].second - by_name["cat"].first
    assert (by_name["cat"].low, by_name["cat"].high) == pytest.approx(moved(drawn, change, -1))
    same, flips, _ = differences(one, one, "pets", 100, 0)
    assert not flips
    assert all((score.low, score.high) == (0, 0) for score in same)


def test_an_example_that_is_labelled_otherwise_is_another_one(tmp_path):
    (values, truth) = rated(20, 9)
    other = truth.clone()
    other[4, 1] = ~other[4, 1]
    one, two = (written(tmp_path / n, Ranked(), judged(values, t)) for n, t in (("one", truth), ("two", other)))
    found, _, alone = differences(one, two, "pets", 10, 0)
    assert alone == 2
    assert {score.name: score.n for score in found}["dog"] == 19
