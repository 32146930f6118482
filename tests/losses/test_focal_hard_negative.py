from __future__ import annotations

import math

import pytest
import torch
from loss_features import gradients, logit, make_features
from loss_harness import Case, LossTests

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import FocalHardNegativeLoss, MultimodalHardNegativeLoss


def oracle(loss: FocalHardNegativeLoss, f: Features) -> float:
    total, rows = 0.0, 0
    for i in range(len(f)):
        logits = [logit(f, f.image[i], f.text[i])]
        logits += [
            logit(f, f.image[i], n) for n, m in zip(f.negative_text[i], f.negative_text_mask[i], strict=True) if m
        ]
        if len(logits) == 1:
            continue
        rows += 1
        weight = sum(math.exp(z) for z in logits)
        for c, z in enumerate(logits):
            p = math.exp(z) / weight
            label = loss.smoothing / len(logits) + (1 - loss.smoothing if c == 0 else 0.0)
            total -= label * (1 - p) ** loss.gamma * math.log(p)
    return total / max(rows, 1)


class TestFocalHardNegative(LossTests):
    cases = (
        Case("fsc-clip", FocalHardNegativeLoss(), oracle),
        Case("cross-entropy", FocalHardNegativeLoss(gamma=0, smoothing=0), oracle),
        Case("focal", FocalHardNegativeLoss(gamma=1, smoothing=0.2), oracle),
    )


def test_without_its_two_changes_it_is_the_plain_choice_among_own_negatives() -> None:
    features = make_features(masked=False)
    plain = MultimodalHardNegativeLoss(image_weight=0)(features).value
    torch.testing.assert_close(FocalHardNegativeLoss(gamma=0, smoothing=0)(features).value, plain)


def test_a_sample_that_is_won_counts_less_with_gamma() -> None:
    features = make_features(masked=False)
    with torch.no_grad():
        features.text.copy_(features.image)
        features.negative_text[0] = features.image[0]  # lost: level with the true caption
    plain, focal = (
        gradients(FocalHardNegativeLoss(gamma=g, smoothing=0)(features).value, features)["negative_text"]
        for g in (0, 2)
    )
    ratio = focal.flatten(1).norm(dim=1) / plain.flatten(1).norm(dim=1)
    assert (ratio[1:] < ratio[0]).all()


def test_smoothing_lets_go_of_a_negative_that_is_beaten_by_far() -> None:
    """The label asks for some probability of the negative, so its gradient turns where it has less."""
    features = make_features(rows=1, slots=1, masked=False)
    with torch.no_grad():
        features.text.copy_(features.image)
        features.negative_text[0, 0] = -features.image[0]
    found = gradients(FocalHardNegativeLoss(gamma=0, smoothing=0.02)(features).value, features)
    assert (found["negative_text"][0, 0] * features.image[0]).sum() < 0
    found = gradients(FocalHardNegativeLoss(gamma=0, smoothing=0)(features).value, features)
    assert (found["negative_text"][0, 0] * features.image[0]).sum() > 0


@pytest.mark.parametrize(("option", "value"), [("gamma", 0.5), ("gamma", -1), ("smoothing", 1), ("smoothing", -0.1)])
def test_refusals(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{option}: {value} "):
        FocalHardNegativeLoss(**{option: value})
