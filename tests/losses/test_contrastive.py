from __future__ import annotations

import math

import pytest
import torch
from loss_features import gradients, logit, make_features
from loss_harness import Case, LossTests

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import ContrastiveLoss
from lightning_cr.losses.contrastive import Scope


def oracle(loss: ContrastiveLoss, f: Features) -> float:
    total = 0.0
    rows = len(f)
    for i in range(rows):
        captions = pictures = 0.0
        for j in range(rows):
            other_caption = i != j and int(f.image_ids[i]) == int(f.image_ids[j])
            if not other_caption:
                captions += math.exp(logit(f, f.image[i], f.text[j]))
                pictures += math.exp(logit(f, f.text[i], f.image[j]))
            for k in range(f.negative_text.shape[1]):
                wanted = loss.hard_negatives == "all" or (loss.hard_negatives == "own" and i == j)
                if wanted and f.negative_text_mask[j, k]:
                    captions += math.exp(logit(f, f.image[i], f.negative_text[j, k]))
            for k in range(f.negative_image.shape[1]):
                wanted = loss.image_negatives == "all" or (loss.image_negatives == "own" and i == j)
                if wanted and f.negative_image_mask[j, k] and not other_caption:
                    pictures += math.exp(logit(f, f.text[i], f.negative_image[j, k]))
        positive = logit(f, f.image[i], f.text[i])
        total += (math.log(captions) - positive + math.log(pictures) - positive) / 2
    return total / rows


class TestContrastive(LossTests):
    cases = (
        Case("clip", ContrastiveLoss(), oracle, silent=False),
        Case("own", ContrastiveLoss(hard_negatives="own"), oracle, silent=False),
        Case("all", ContrastiveLoss(hard_negatives="all"), oracle, silent=False),
        Case("images-own", ContrastiveLoss(image_negatives="own"), oracle, images="pixels", silent=False),
        Case("images-all", ContrastiveLoss(1.0, "all", "all"), oracle, images="pixels", silent=False),
        Case("images-perturbed", ContrastiveLoss(1.0, "all", "all"), oracle, images="perturbation", silent=False),
    )


def test_equals_the_usual_clip_loss_where_no_image_repeats() -> None:
    features = make_features(rows=6)
    features.image_ids = torch.arange(6)
    logits = features.logit_scale * features.image @ features.text.T
    labels = torch.arange(6)
    expected = (
        torch.nn.functional.cross_entropy(logits, labels) + torch.nn.functional.cross_entropy(logits.T, labels)
    ) / 2
    torch.testing.assert_close(ContrastiveLoss()(features).value, expected)


@pytest.mark.parametrize("scope", ["none", "own", "all"])
def test_captions_of_one_image_do_not_repel(scope: Scope) -> None:
    """Rows 3 and 4 show one image; moving one's caption changes nothing for the other, in either direction."""
    features = make_features(masked=False)
    found = []
    for ids in ([0, 1, 2, 3, 3], [0, 1, 2, 3, 4]):
        features.image_ids = torch.tensor(ids)
        repelled = gradients(ContrastiveLoss(hard_negatives=scope)(features).value, features)
        # d loss / d T_4 is a mix of the images (each row's softmax), d loss / d I_4 one of the captions and negatives.
        images = torch.linalg.lstsq(features.image.detach().T, repelled["text"][4]).solution
        found.append(images[3].item())
    assert abs(found[0]) < 1e-12
    assert found[1] > 0


def test_other_captions_negatives_of_the_image_stay_but_their_images_go() -> None:
    """Rows 3 and 4 show one image: row 4's false captions are false for row 3, its false pictures need not be."""
    features = make_features(images="pixels", masked=False)
    found = gradients(ContrastiveLoss(hard_negatives="all", image_negatives="all")(features).value, features)
    # The gradient of a negative is a mix of the anchors that it repels; solve for how much of each.
    of_images = torch.linalg.lstsq(features.image.detach().T, found["negative_text"][4].T).solution
    of_captions = torch.linalg.lstsq(features.text.detach().T, found["negative_image"][4].T).solution
    assert (of_images > 0).all()
    assert of_captions[3].abs().max() < 1e-12
    assert (of_captions[[0, 1, 2, 4]] > 0).all()


def test_accuracy_counts_hard_negatives_and_calls_a_tie_wrong() -> None:
    features = make_features(masked=False)
    assert features.image_ids[-1] == features.image_ids[-2]
    with torch.no_grad():
        features.text.copy_(features.image)
    assert ContrastiveLoss()(features).report["accuracy"] == 1.0
    with torch.no_grad():
        features.negative_text[0, 1] = features.text[0]
    assert ContrastiveLoss()(features).report["accuracy"] == 1.0
    assert ContrastiveLoss(hard_negatives="own")(features).report["accuracy"].item() == pytest.approx(0.8)


def test_needs_say_what_the_options_want() -> None:
    assert ContrastiveLoss().needs == frozenset()
    assert ContrastiveLoss(hard_negatives="own").needs == {"negative_text"}
    assert ContrastiveLoss(image_negatives="all").needs == {"negative_image"}


def test_missing_negative_images_are_an_error_a8() -> None:
    with pytest.raises(ConfigError, match=r"model\.image_negatives"):
        ContrastiveLoss(image_negatives="own")(make_features())


@pytest.mark.parametrize("option", ["hard_negatives", "image_negatives"])
def test_unknown_scope(option: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{option}: 'al' is not one of none, own, all\. Did you mean 'all'\?$"):
        ContrastiveLoss(**{option: "al"})
