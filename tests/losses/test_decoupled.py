from __future__ import annotations

import math

import pytest
import torch
from loss_features import gradients, logit, make_features
from loss_harness import Case, LossTests
from near_oracle import of_caption, of_image

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import DecoupledContrastiveLoss


def oracle(loss: DecoupledContrastiveLoss, f: Features) -> float:
    total = 0.0
    for i in range(len(f)):
        positive = logit(f, f.image[i], f.text[i])
        for negatives in (of_image(f, i, loss.hard_negatives), of_caption(f, i)):
            if negatives:
                total += (math.log(sum(math.exp(z) for z in negatives)) - positive) / 2
    return total / len(f)


class TestDecoupled(LossTests):
    cases = (
        Case("none", DecoupledContrastiveLoss(hard_negatives="none"), oracle, silent=False),
        Case("own", DecoupledContrastiveLoss(hard_negatives="own"), oracle, silent=False),
        Case("all", DecoupledContrastiveLoss(), oracle, silent=False),
    )


def test_the_positive_pulls_with_the_whole_scale_however_well_it_leads() -> None:
    """InfoNCE's pull fades with 1 - p+; here it does not: the factor that couples positive and negatives is gone."""
    features = make_features(rows=3, masked=False)
    features.image_ids = torch.arange(3)
    with torch.no_grad():
        features.text.copy_(features.image)
    found = gradients(DecoupledContrastiveLoss(hard_negatives="none")(features).value, features)
    # d/dT_i along I_i holds the pull -s/B of both directions; the push of the images of others has its own directions.
    mix = torch.linalg.lstsq(features.image.detach().T, found["text"].T).solution
    torch.testing.assert_close(mix.diagonal(), torch.full((3,), -12.0 / 3, dtype=torch.float64))


def test_a_lone_pair_adds_nothing() -> None:
    features = make_features(rows=1, slots=0)
    value = DecoupledContrastiveLoss()(features).value
    assert value.item() == 0.0
    assert all((g == 0).all() for g in gradients(value, features).values())


def test_options() -> None:
    assert DecoupledContrastiveLoss().needs == {"negative_text"}
    assert DecoupledContrastiveLoss(hard_negatives="none").needs == frozenset()
    with pytest.raises(ConfigError, match=r"hard_negatives: 'al' is not one of none, own, all\. Did you mean 'all'"):
        DecoupledContrastiveLoss(hard_negatives="al")  # type: ignore[arg-type]
