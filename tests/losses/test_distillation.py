from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from loss_features import gradients, make_features
from loss_harness import Case, LossTests

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import DistillationLoss


def dot(a: torch.Tensor, b: torch.Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def softmax(logits: list[float]) -> list[float]:
    total = sum(math.exp(z) for z in logits)
    return [math.exp(z) / total for z in logits]


def oracle(loss: DistillationLoss, f: Features) -> float:
    assert f.initial_image is not None
    assert f.initial_text is not None
    total, rows = 0.0, len(f)
    for i in range(rows):
        for now, then, other, other_then in (
            (f.image, f.initial_image, f.text, f.initial_text),
            (f.text, f.initial_text, f.image, f.initial_image),
        ):
            if loss.of == "mse":
                total += sum((x - y) ** 2 for x, y in zip(now[i].tolist(), then[i].tolist(), strict=True))
            elif loss.of == "cosine":
                total += 1 - dot(now[i], then[i])
            else:
                p = softmax([loss.scale * dot(then[i], other_then[j]) for j in range(rows)])
                q = softmax([loss.scale * dot(now[i], other[j]) for j in range(rows)])
                total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 2
    return total / rows


class TestDistillation(LossTests):
    cases = (
        Case("mse", DistillationLoss(), oracle, silent=False),
        Case("cosine", DistillationLoss(of="cosine"), oracle, silent=False),
        Case("similarity", DistillationLoss(of="similarity", scale=15.0), oracle, silent=False),
    )


@pytest.mark.parametrize("of", ["mse", "cosine", "similarity"])
def test_nothing_is_lost_at_the_start(of: str) -> None:
    features = make_features()
    start = replace(features, initial_image=features.image.detach(), initial_text=features.text.detach())
    term = DistillationLoss(of=of)(start)  # type: ignore[arg-type]
    assert term.value.item() == pytest.approx(0.0, abs=1e-12)
    assert term.report["drift"].item() == pytest.approx(0.0, abs=1e-12)


def test_similarity_lets_both_towers_turn_together() -> None:
    features = make_features()
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    turned = replace(features, initial_image=features.image.detach() @ turn, initial_text=features.text.detach() @ turn)
    assert DistillationLoss(of="similarity")(turned).value.item() == pytest.approx(0.0, abs=1e-9)
    assert DistillationLoss(of="mse")(turned).value.item() > 0.1


def test_the_start_gets_no_gradient_and_the_scale_none() -> None:
    features = make_features()
    assert features.initial_image is not None
    assert not features.initial_image.requires_grad
    found = gradients(DistillationLoss(of="similarity")(features).value, features)
    assert found["logit_scale"] == 0
    assert (found["image"] != 0).any()


def test_refusals() -> None:
    assert DistillationLoss().needs == {"initial_image", "initial_text"}
    with pytest.raises(ConfigError, match=r"of: 'mes' is not one of mse, cosine, similarity\. Did you mean 'mse'"):
        DistillationLoss(of="mes")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="scale: 0"):
        DistillationLoss(scale=0)
    with pytest.raises(ConfigError, match="initial_image"):
        DistillationLoss()(replace(make_features(), initial_image=None, initial_text=None))
