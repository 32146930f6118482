from __future__ import annotations

import math
from dataclasses import replace

import pytest
from loss_features import gradients, make_features
from loss_harness import Case, LossTests

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import TextGroundedLoss


def oracle(loss: TextGroundedLoss, f: Features) -> float:
    assert f.initial_text is not None
    total, rows = 0.0, 0
    for i in range(len(f)):
        own = sum(x * y for x, y in zip(f.text[i].tolist(), f.initial_text[i].tolist(), strict=True))
        others = [
            sum(x * y for x, y in zip(f.text[i].tolist(), f.negative_text[i, k].tolist(), strict=True))
            for k in range(f.negative_text.shape[1])
            if f.negative_text_mask[i, k]
        ]
        if others:
            rows += 1
            total += math.log(1 + sum(math.exp(loss.scale * (z - own)) for z in others))
    return total / max(rows, 1)


class TestTextGrounded(LossTests):
    cases = (
        Case("degla", TextGroundedLoss(), oracle),
        Case("sharp", TextGroundedLoss(scale=40.0), oracle),
    )


def test_images_have_no_part_in_it() -> None:
    features = make_features()
    found = gradients(TextGroundedLoss()(features).value, features)
    assert (found["image"] == 0).all()
    assert (found["text"] != 0).any()


def test_refusals() -> None:
    assert TextGroundedLoss().needs == {"negative_text", "initial_text"}
    with pytest.raises(ConfigError, match="scale: -1"):
        TextGroundedLoss(scale=-1)
    with pytest.raises(ConfigError, match="initial_text"):
        TextGroundedLoss()(replace(make_features(), initial_image=None, initial_text=None))
