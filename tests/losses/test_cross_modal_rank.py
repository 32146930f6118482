from __future__ import annotations

import pytest
from loss_features import bound, logit, make_features
from loss_harness import Case, LossTests

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import CrossModalRankLoss


def rank_by_loops(f: Features, thresholds: list[float], reduction: str) -> float:
    total, valid, slots = 0.0, 0, 0
    for i in range(len(f)):
        for k, threshold in enumerate(thresholds):
            slots += 1
            if f.negative_text_mask[i, k]:
                valid += 1
                total += max(
                    0.0, threshold + logit(f, f.image[i], f.negative_text[i, k]) - logit(f, f.image[i], f.text[i])
                )
    return total / max(1, slots if reduction == "slots" else valid)


def oracle(loss: CrossModalRankLoss, f: Features) -> float:
    return rank_by_loops(f, loss.threshold.value.tolist(), loss.reduction)


class TestCrossModalRank(LossTests):
    cases = (
        Case("mean", CrossModalRankLoss(), oracle),
        Case("mean-valid", CrossModalRankLoss(reduction="valid"), oracle),
        Case("max", CrossModalRankLoss(threshold="max"), oracle),
        Case("fixed", CrossModalRankLoss(threshold="fixed", fixed=3.0), oracle),
        Case("carried", CrossModalRankLoss(reset_each_epoch=False, upper_bound=1.5, reduction="valid"), oracle),
    )


def test_report_holds_the_threshold_in_force_and_the_margin() -> None:
    loss = bound(CrossModalRankLoss(), 3)
    first = loss(make_features(masked=False)).report
    second = loss(make_features(1)).report
    assert list(first) == [f"{what}/kind{k}" for what in ("threshold", "margin") for k in range(3)]
    for k in range(3):
        assert first[f"threshold/kind{k}"] == 0
        assert second[f"threshold/kind{k}"] == first[f"margin/kind{k}"].clamp(0, 10)


def test_unknown_reduction() -> None:
    with pytest.raises(ConfigError, match=r"^reduction: 'slot' is not one of slots, valid\. Did you mean 'slots'\?$"):
        CrossModalRankLoss(reduction="slot")  # type: ignore[arg-type]


def test_other_kinds_than_bound() -> None:
    with pytest.raises(
        ConfigError, match="the batch has the kinds kind0, kind1, but these thresholds are for kind0, kind1, k"
    ):
        bound(CrossModalRankLoss(), 3)(make_features(slots=2))
    with pytest.raises(ConfigError, match="bind was not called"):
        CrossModalRankLoss()(make_features())
