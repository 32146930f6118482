from __future__ import annotations

import math

import pytest
import torch
from loss_features import gradients, logit, make_features
from loss_harness import Case, LossTests

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import MultimodalHardNegativeLoss


def oracle(loss: MultimodalHardNegativeLoss, f: Features) -> float:
    total = 0.0
    for i in range(len(f)):
        positive = math.exp(logit(f, f.image[i], f.text[i]))
        captions, pictures = positive, positive
        for k in range(f.negative_text.shape[1]):
            if f.negative_text_mask[i, k]:
                captions += math.exp(logit(f, f.image[i], f.negative_text[i, k]))
        for k in range(f.negative_image.shape[1]):
            if f.negative_image_mask[i, k]:
                pictures += math.exp(logit(f, f.text[i], f.negative_image[i, k]))
        total -= loss.text_weight * math.log(positive / captions) + loss.image_weight * math.log(positive / pictures)
    return total / len(f)


class TestMultimodalHardNegative(LossTests):
    cases = (
        Case("text", MultimodalHardNegativeLoss(image_weight=0.0), oracle),
        Case("pixels", MultimodalHardNegativeLoss(image_weight=0.3), oracle, images="pixels"),
        Case("image", MultimodalHardNegativeLoss(text_weight=0.0), oracle, images="pixels"),
        Case("perturbation", MultimodalHardNegativeLoss(), oracle, images="perturbation"),
    )


def test_missing_negative_images_are_an_error_a8() -> None:
    with pytest.raises(ConfigError, match=r"model\.image_negatives"):
        MultimodalHardNegativeLoss()(make_features())


def test_each_sample_is_set_against_its_own_negatives_a7() -> None:
    """A7: the public targets pull a caption to another sample's negative; here own negatives lose."""
    features = make_features(images="perturbation", masked=False)
    step = gradients(MultimodalHardNegativeLoss()(features).value, features)
    towards = -(step["negative_text"] * features.image[:, None]).sum(-1)
    assert (towards < 0).all()
    assert (-(step["text"] * features.image).sum(-1) > 0).all()
    for i in range(len(features)):
        lone = torch.autograd.grad(MultimodalHardNegativeLoss()(features).value, features.negative_text)[0][i]
        cosines = torch.nn.functional.cosine_similarity(lone, features.image[i][None], dim=-1)
        torch.testing.assert_close(cosines, torch.ones_like(cosines))  # no other sample's image has a part


def test_parts_are_reported() -> None:
    loss = MultimodalHardNegativeLoss(image_weight=0.5)
    term = loss(make_features(images="pixels"))
    assert set(term.report) == {"text", "image"}
    torch.testing.assert_close(term.value.detach(), term.report["text"] + 0.5 * term.report["image"])


def test_needs_and_refusals() -> None:
    assert MultimodalHardNegativeLoss().needs == {"negative_text", "negative_image"}
    assert MultimodalHardNegativeLoss(image_weight=0).needs == {"negative_text"}
    assert MultimodalHardNegativeLoss(text_weight=0).needs == {"negative_image"}
    with pytest.raises(ConfigError, match="image_weight: -1"):
        MultimodalHardNegativeLoss(image_weight=-1)
    with pytest.raises(ConfigError, match="both 0"):
        MultimodalHardNegativeLoss(image_weight=0, text_weight=0)
