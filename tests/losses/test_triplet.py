from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from loss_features import as_leaves, gradients, logit, make_features
from loss_harness import Case, LossTests
from torch import Tensor
from torch.nn import functional

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import ContrastiveLoss, TripletContrastiveLoss


def log_sum(logits: list[float]) -> float:
    return math.log(sum(math.exp(z) for z in logits))


def oracle(loss: TripletContrastiveLoss, f: Features) -> float:
    rows, slots = len(f), f.negative_text.shape[1]

    def same(i: int, j: int) -> bool:
        return i != j and int(f.image_ids[i]) == int(f.image_ids[j])

    positive = 0.0
    for i in range(rows):
        true = [j for j in range(rows) if not same(i, j)]
        captions = [logit(f, f.image[i], f.text[j]) for j in true]
        for j in range(rows):
            for k in range(slots):
                if f.negative_text_mask[j, k]:
                    captions.append(logit(f, f.image[i], f.negative_text[j, k]))
        pictures = [logit(f, f.text[i], f.image[j]) for j in true]
        positive += (log_sum(captions) + log_sum(pictures)) / 2 - logit(f, f.image[i], f.text[i])
    every = [(i, k) for i in range(rows) for k in range(slots)]
    pairs = [p for p in every if f.negative_text_mask[p] and f.negative_image_mask[p]]
    negative = 0.0
    for i, k in pairs:
        image, text = f.negative_image[i, k], f.negative_text[i, k]
        known = [(j, n) for j, n in pairs if not same(i, j)]
        captions = [logit(f, image, f.negative_text[p]) for p in known]
        captions += [logit(f, image, f.text[j]) for j in range(rows) if not same(i, j)]
        pictures = [logit(f, text, f.negative_image[p]) for p in known]
        negative += (log_sum(captions) + log_sum(pictures)) / 2 - logit(f, image, text)
    return positive / rows + loss.negative_weight * negative / max(len(pairs), 1)


class TestTriplet(LossTests):
    cases = (
        Case("paired", TripletContrastiveLoss(), oracle, images="paired", silent=False),
        Case("weighted", TripletContrastiveLoss(negative_weight=0.3), oracle, images="paired", silent=False),
        Case("perturbation", TripletContrastiveLoss(), oracle, images="perturbation", silent=False),
    )


def released(image: Tensor, text: Tensor, false: Tensor, scale: Tensor) -> Tensor:
    labels = torch.arange(len(image))
    rows = scale * torch.cat([image @ text.T, image @ false.T], dim=1)
    return (functional.cross_entropy(rows, labels) + functional.cross_entropy(scale * text @ image.T, labels)) / 2


def test_equals_the_two_halves_as_released_for_one_pair_a_sample() -> None:
    f = make_features(rows=6, slots=1, images="paired", masked=False)
    f.image_ids = torch.arange(6)
    expected = released(f.image, f.text, f.negative_text[:, 0], f.logit_scale)
    expected = expected + released(f.negative_image[:, 0], f.negative_text[:, 0], f.text, f.logit_scale)
    torch.testing.assert_close(TripletContrastiveLoss()(f).value, expected)


def test_the_rows_of_a_true_caption_never_see_a_negative_picture() -> None:
    features = make_features(images="paired", masked=False)
    text = gradients(TripletContrastiveLoss(negative_weight=0)(features).value, features)
    assert (text["negative_image"] == 0).all()


def test_without_the_second_half_it_is_negclip() -> None:
    features = make_features(images="paired")
    expected = ContrastiveLoss(hard_negatives="all")(features).value
    torch.testing.assert_close(TripletContrastiveLoss(negative_weight=0)(features).value, expected)


def test_a_false_caption_without_a_picture_is_in_the_first_half_alone() -> None:
    features = make_features(images="paired", masked=False)
    mask = features.negative_image_mask.clone()
    mask[0, 1] = False
    one = as_leaves(replace(features, negative_image_mask=mask))
    term = TripletContrastiveLoss()(one)
    found = gradients(term.value, one)
    assert (found["negative_image"][0, 1] == 0).all()
    first = gradients(TripletContrastiveLoss(negative_weight=0)(one).value, one)
    torch.testing.assert_close(found["negative_text"][0, 1], first["negative_text"][0, 1])


def test_other_captions_of_the_image_are_out_of_the_second_half() -> None:
    """Rows 3 and 4 show one image: what is false for one caption's negative picture need not be for the other's."""
    features = make_features(images="paired", masked=False)
    both = gradients(TripletContrastiveLoss()(features).value, features)
    moved = as_leaves(features)
    with torch.no_grad():
        moved.negative_image[3] = -moved.negative_image[3]
    again = gradients(TripletContrastiveLoss()(moved).value, moved)
    torch.testing.assert_close(again["negative_text"][4], both["negative_text"][4])
    assert not torch.allclose(again["negative_text"][1], both["negative_text"][1])


def test_refusals() -> None:
    with pytest.raises(ConfigError, match=r"model\.image_negatives"):
        TripletContrastiveLoss()(make_features())
    with pytest.raises(ConfigError, match="slot by slot, but there are 3 and 2"):
        TripletContrastiveLoss()(make_features(images="pixels"))
    with pytest.raises(ConfigError, match="negative_weight: -1"):
        TripletContrastiveLoss(negative_weight=-1)
    assert TripletContrastiveLoss().needs == {"negative_text", "negative_image"}
