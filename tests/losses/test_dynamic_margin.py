from __future__ import annotations

import pytest
import torch
from loss_features import bound, gradients, logit, make_features
from loss_harness import Case, LossTests
from test_cross_modal_rank import rank_by_loops

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import CrossModalRankLoss, DynamicMarginLoss


def oracle(loss: DynamicMarginLoss, f: Features) -> float:
    positive = 0.0
    for i in range(len(f)):
        cosine = logit(f, f.image[i], f.text[i]) / f.logit_scale.item()
        positive += max(0.0, loss.positive_margin - cosine) / len(f)
    rank = rank_by_loops(f, loss.threshold.value.tolist(), loss.reduction)
    return loss.positive_weight * positive + loss.rank_weight * rank


class TestDynamicMargin(LossTests):
    cases = (
        Case("active", DynamicMarginLoss(positive_margin=0.9, positive_weight=2.0), oracle, silent=False),
        Case("weighted", DynamicMarginLoss(0.9, 0.5, 3.0, threshold="max", max_divisor=2.0), oracle, silent=False),
        Case("met", DynamicMarginLoss(positive_margin=-1.0), oracle),
        Case("valid", DynamicMarginLoss(positive_margin=0.9, threshold="max", reduction="valid"), oracle, silent=False),
    )


def test_positive_part_runs_on_cosines_a2() -> None:
    """A2: as shipped the positive part never runs, and on logits it would be exactly 0."""
    features = make_features(scale=100.0)
    with torch.no_grad():
        features.text.copy_(torch.nn.functional.normalize(features.text - 1.2 * features.image, dim=-1))
    loss = bound(DynamicMarginLoss(positive_margin=0.2), 3)
    rank = bound(CrossModalRankLoss(), 3)
    term, part = loss(features), rank(features)
    assert term.report["positive"] > 0
    torch.testing.assert_close(term.value - part.value, term.report["positive"])
    difference = gradients(term.value - part.value, features)
    assert difference["text"].abs().max() > 0
    assert (difference["logit_scale"] == 0).all()


def test_weight_0_leaves_the_rank_alone() -> None:
    features = make_features()
    rank, both = bound(CrossModalRankLoss(), 3), bound(DynamicMarginLoss(positive_margin=0.9, positive_weight=0.0), 3)
    for _ in range(3):
        assert rank(features).value == both(features).value


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"positive_margin": 20.0}, "positive_margin: 20.0 is no cosine"),
        ({"positive_weight": -1.0}, "positive_weight: -1.0 is negative"),
        ({"rank_weight": -0.5}, "rank_weight: -0.5 is negative"),
        (
            {"positive_weight": 0.0, "rank_weight": 0.0},
            "positive_weight and rank_weight: both are 0.*; set one above 0, or take the loss out",
        ),
        ({"max_divisor": 0.0}, "max_divisor: 0.0 must be greater than 0"),
    ],
)
def test_options_out_of_range(option: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        DynamicMarginLoss(**option)  # type: ignore[arg-type]
