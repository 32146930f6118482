from __future__ import annotations

import math

import pytest
import torch
from loss_features import gradients, logit, make_features
from loss_harness import Case, LossTests
from near_oracle import of_caption, of_image

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import ContrastiveLoss, ReweightedContrastiveLoss


def oracle(loss: ReweightedContrastiveLoss, f: Features) -> float:
    total = 0.0
    for i in range(len(f)):
        positive = math.exp(logit(f, f.image[i], f.text[i]))
        for negatives in (of_image(f, i, loss.hard_negatives), of_caption(f, i)):
            if not negatives:
                continue
            n = len(negatives)
            weights = [math.exp(loss.beta * z) for z in negatives]
            mean = sum(w * math.exp(z) for w, z in zip(weights, negatives, strict=True)) / sum(weights)
            corrected = n * (mean - loss.tau_plus * positive) / (1 - loss.tau_plus)
            total -= math.log(positive / (positive + max(corrected, n * math.exp(-f.logit_scale.item())))) / 2
    return total / len(f)


class TestReweighted(LossTests):
    cases = (
        Case("paper", ReweightedContrastiveLoss(), oracle, silent=False),
        Case("own", ReweightedContrastiveLoss(hard_negatives="own", beta=0.3, tau_plus=0.02), oracle, silent=False),
        Case("none", ReweightedContrastiveLoss(hard_negatives="none", tau_plus=0.0), oracle, silent=False),
    )


@pytest.mark.parametrize("scope", ["none", "own", "all"])
def test_without_weights_and_correction_it_is_the_contrastive_loss(scope: str) -> None:
    features = make_features()
    plain = ContrastiveLoss(hard_negatives=scope)(features).value  # type: ignore[arg-type]
    ours = ReweightedContrastiveLoss(hard_negatives=scope, beta=0.0, tau_plus=0.0)(features).value  # type: ignore[arg-type]
    torch.testing.assert_close(ours, plain)
    expected, found = gradients(plain, features), gradients(ours, features)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


def test_a_sharper_beta_moves_the_push_to_the_hardest() -> None:
    features = make_features(masked=False)
    shares = []
    for beta in (0.0, 1.0, 4.0):
        found = gradients(ReweightedContrastiveLoss(1.0, "own", beta, 0.0)(features).value, features)
        push = (found["negative_text"][0] * features.image[0]).sum(-1)
        shares.append((push.max() / push.abs().sum()).item())
    assert shares[0] < shares[1] < shares[2]


def test_a_positive_far_enough_ahead_is_done() -> None:
    """Where the positive leads by more than -log(tau+), G is at its floor and no negative is pushed."""
    features = make_features(rows=4, slots=2, dim=8, masked=False)
    features.image_ids = torch.arange(4)
    with torch.no_grad():
        for name, rows in (("image", torch.eye(8)[:4]), ("text", torch.eye(8)[:4])):
            getattr(features, name).copy_(rows)
        features.negative_text.copy_(torch.eye(8)[4:6].expand(4, 2, 8))
    term = ReweightedContrastiveLoss()(features)
    assert term.report["done"] == 1.0
    assert (gradients(term.value, features)["negative_text"] == 0).all()
    assert ReweightedContrastiveLoss(tau_plus=0.0)(features).report["done"] == 0.0


@pytest.mark.parametrize(
    ("option", "value"), [("beta", -1.0), ("beta", math.nan), ("tau_plus", 1.0), ("tau_plus", -0.1)]
)
def test_refusals(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{option}: {value} "):
        ReweightedContrastiveLoss(**{option: value})
