from __future__ import annotations

import math

import pytest
import torch
from loss_features import gradients, logit, make_features
from loss_harness import Case, LossTests
from near_oracle import of_image

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import SigmoidLoss


def at(loss: SigmoidLoss, f: Features, bias: float) -> float:
    total = 0.0
    for i in range(len(f)):
        total += math.log1p(math.exp(-logit(f, f.image[i], f.text[i]) - bias))
        total += sum(math.log1p(math.exp(z + bias)) for z in of_image(f, i, loss.hard_negatives))
    return total / len(f)


def oracle(loss: SigmoidLoss, f: Features) -> float:
    """The least over the bias by three-way search, where none is given."""
    if loss.bias is not None:
        return at(loss, f, loss.bias)
    low, high = -60.0, 60.0
    for _ in range(200):
        one, two = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, two) if at(loss, f, one) < at(loss, f, two) else (one, high)
    return at(loss, f, low)


class TestSigmoid(LossTests):
    cases = (
        Case("best-bias", SigmoidLoss(), oracle, silent=False),
        Case("fixed-bias", SigmoidLoss(bias=-10.0), oracle, silent=False),
        Case("all", SigmoidLoss(hard_negatives="all"), oracle, silent=False),
        Case("none", SigmoidLoss(hard_negatives="none", bias=-3.0), oracle, silent=False),
    )


def test_equals_open_clip_where_no_image_repeats() -> None:
    from open_clip.loss import SigLipLoss

    features = make_features(rows=6)
    features.image_ids = torch.arange(6)
    ours = SigmoidLoss(hard_negatives="none", bias=-10.0)(features).value
    theirs = SigLipLoss()(features.image, features.text, features.logit_scale, torch.tensor(-10.0))
    torch.testing.assert_close(ours, theirs)


def test_at_the_best_bias_as_many_pairs_are_called_true_as_there_are() -> None:
    features = make_features(rows=6, scale=100.0)
    bias = SigmoidLoss(hard_negatives="own")(features).report["bias"].item()
    called = sum(
        1 / (1 + math.exp(-z - bias))
        for i in range(6)
        for z in (*of_image(features, i, "own"), logit(features, features.image[i], features.text[i]))
    )
    assert called == pytest.approx(6, abs=1e-9)


def test_a_lone_pair_is_no_question_for_the_best_bias() -> None:
    features = make_features(rows=1, slots=0)
    value = SigmoidLoss(hard_negatives="none")(features).value
    assert value.item() == 0.0
    assert value.requires_grad
    assert all((g == 0).all() for g in gradients(value, features).values())
    assert SigmoidLoss(hard_negatives="none", bias=-1.0)(features).value > 0


def test_unknown_scope() -> None:
    with pytest.raises(ConfigError, match="hard_negatives: 'mine' is not one of none, own, all"):
        SigmoidLoss(hard_negatives="mine")  # type: ignore[arg-type]
