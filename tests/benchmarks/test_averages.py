"""Averages against numbers worked out by hand, and intervals against what they should cover."""

import random

import pytest
import torch

from lightning_cr.benchmarks.averages import Mean, Tally, bootstrapped
from lightning_cr.benchmarks.base import Benchmark, Judged, Scoring


class Listed(Benchmark):
    """Examples without pictures."""

    def open(self, root, preprocess, held_out):
        pass

    def judge(self, similarity):
        raise AssertionError


def judged(rights, clusters=None):
    """From lists of 1, 0 and 0.5 (a tie) by subset."""
    margins = {name: torch.tensor(values) - 0.5 for name, values in rights.items()}
    count = iter(range(10**6))
    numbers = {name: torch.tensor([next(count) for _ in values]) for name, values in rights.items()}
    return Judged.of(margins, clusters or numbers)


def benchmark(**averages):
    found = Listed()
    found.averages = averages
    return found


def test_pools_and_means():
    examples = judged({"a": [1.0, 0.0, 0.0, 0.0], "b": [1.0, 1.0], "c": [1.0, 0.0]})
    micro, macro, both = ("a", "b", "c"), Mean((("a",), ("b",), ("c",))), Mean((("a", "b"), ("c",)))
    scores = benchmark(micro=micro, macro=macro, both=both, nested=Mean((macro, ("b",)))).score(examples)
    assert scores["a"].value == 0.25
    assert scores["micro"].value == pytest.approx(4 / 8)
    assert scores["macro"].value == pytest.approx((0.25 + 1.0 + 0.5) / 3)
    assert scores["both"].value == pytest.approx((3 / 6 + 0.5) / 2)
    assert scores["nested"].value == pytest.approx(((0.25 + 1.0 + 0.5) / 3 + 1.0) / 2)
    assert scores["both"].n == 8


def test_ties_by_rule():
    examples = judged({"a": [1.0, 0.5, 0.0, 0.5]})
    plain = benchmark()
    assert [plain.score(examples, Scoring(rule, 0))["a"].value for rule in ("official", "strict", "half")] == [
        0.25,
        0.25,
        0.5,
    ]
    assert plain.score(examples)["a"].ties == 2
    plain.official_ties = "right"
    assert plain.score(examples)["a"].value == 0.75
    assert plain.score(examples, Scoring("strict", 0))["a"].value == 0.25


def test_a_mean_that_lacks_a_part_is_withheld_or_says_that_it_may():
    examples = judged({"a": [1.0, 0.0], "b": [1.0]})
    margin = examples.margin.clone()
    margin[2] = torch.nan
    examples = Judged(examples.subsets, examples.subset, margin, examples.cluster, examples.ids)
    parts = (("a",), ("b",), ("never listed",))
    found = benchmark(
        mean=Mean(parts), some=Mean(parts, complete=False), pool=("a", "b"), none=("b",), empty=Mean((), complete=False)
    )
    for resamples in (0, 20):
        scores = found.score(examples, Scoring(resamples=resamples))
        assert list(scores) == ["a", "some", "pool"]
        assert (scores["some"].value, scores["some"].n) == (0.5, 2)


def test_the_interval_of_independent_examples_is_the_binomial_one():
    rng = random.Random(0)
    values = [float(rng.random() < 0.7) for _ in range(400)]
    score = benchmark().score(judged({"a": values}), Scoring(resamples=2000))["a"]
    half = 1.96 * (score.value * (1 - score.value) / 400) ** 0.5
    assert score.low == pytest.approx(score.value - half, abs=0.01)
    assert score.high == pytest.approx(score.value + half, abs=0.01)


def test_examples_of_one_picture_are_resampled_together():
    rng = random.Random(0)
    by_picture = [float(rng.random() < 0.5) for _ in range(50)]
    values = [value for value in by_picture for _ in range(8)]
    alone = benchmark().score(judged({"a": values}), Scoring(resamples=1000))["a"]
    cluster = torch.arange(50).repeat_interleave(8)
    together = benchmark().score(judged({"a": values}, {"a": cluster}), Scoring(resamples=1000))["a"]
    assert together.high - together.low == pytest.approx((alone.high - alone.low) * 8**0.5, rel=0.15)


def test_the_bootstrap_equals_a_naive_loop():
    generator = torch.Generator().manual_seed(3)
    right = torch.randint(0, 2, (60,), generator=generator).double()
    subset, cluster = torch.arange(60) % 3, torch.arange(60) // 7
    tally = Tally.of(right, right == 2, subset, cluster, 3)
    average, place = Mean((("x", "y"), ("z",))), {"x": 0, "y": 1, "z": 2}
    found = bootstrapped(tally, {"m": average}, place, 200, seed=5)["m"]
    picks = torch.randint(9, (200, 9), generator=torch.Generator().manual_seed(5))
    naive = []
    for pick in picks.tolist():
        rows = [row for c in pick for row in (cluster == c).nonzero().flatten().tolist()]
        pooled = [float(right[row]) for row in rows if subset[row] != 2]
        last = [float(right[row]) for row in rows if subset[row] == 2]
        naive.append((sum(pooled) / len(pooled) + sum(last) / len(last)) / 2)
    naive = torch.tensor(naive, dtype=torch.float64)
    assert found == pytest.approx(torch.quantile(naive, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist())


def test_the_same_seed_gives_the_same_interval_whatever_else_is_averaged():
    examples = judged({"a": [1.0, 0.0] * 30, "b": [1.0, 1.0, 0.0] * 20})
    one = benchmark().score(examples, Scoring(resamples=300, seed=1))["a"]
    other = benchmark(mean=Mean((("a",), ("b",)))).score(examples, Scoring(resamples=300, seed=1))["a"]
    assert (one.low, one.high) == (other.low, other.high)
