from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from gloo_ranks import Ranks
from loss_features import as_leaves, gradients, logit, make_features
from loss_harness import Case, LossTests

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import IntraModalContrastiveLoss


def oracle(loss: IntraModalContrastiveLoss, f: Features) -> float:
    total, count = 0.0, 0
    for i in range(len(f)):
        crowd = []
        for j in range(len(f)) if loss.scope == "all" else [i]:
            for k in range(f.negative_text.shape[1]):
                if f.negative_text_mask[j, k]:
                    crowd.append(logit(f, f.text[i], f.negative_text[j, k]))
        form, positives = loss.positive, []
        if form == "caption":
            for p in range(f.positive_text.shape[1]):
                if f.positive_text_mask[i, p]:
                    positives.append(logit(f, f.text[i], f.positive_text[i, p]))
            if not positives:
                form = loss.without_positive
        if not crowd or form == "leave_out":
            continue
        if form == "self":
            positives = [f.logit_scale.item()]
        every = sum(math.exp(z) for z in crowd)
        if form == "none":
            total += math.log(every)
        for p in positives:
            total += math.log((math.exp(p) + every) / math.exp(p)) / len(positives)
        count += 1
    return total / max(1, count)


def make(positive: Any = "none", scope: Any = "own", **options: Any) -> IntraModalContrastiveLoss:
    return IntraModalContrastiveLoss(positive=positive, scope=scope, **options)


class TestIntraModalContrastive(LossTests):
    cases = (
        Case("none", make(), oracle),
        Case("none-all", make(scope="all"), oracle),
        Case("self", make("self"), oracle),
        Case("self-all", make("self", "all"), oracle),
        Case("caption", make("caption"), oracle),
        Case("caption-all", make("caption", "all"), oracle),
        Case("caption-or-none", make("caption", without_positive="none"), oracle),
        Case("caption-or-self", make("caption", without_positive="self"), oracle),
    )


def by_hand(cosines: list[float], positive: float, scale: float = 100.0) -> Features:
    """One caption e1 with hard negatives and one positive at these cosines."""

    def at(c: float) -> list[float]:
        return [c, math.sqrt(1 - c * c)]

    features = make_features(rows=1, slots=len(cosines), dim=2, scale=scale, masked=False)
    return as_leaves(
        replace(
            features,
            text=torch.tensor([[1.0, 0.0]], dtype=torch.float64),
            negative_text=torch.tensor([[at(c) for c in cosines]], dtype=torch.float64),
            positive_text=torch.tensor([[at(positive)]], dtype=torch.float64),
            positive_text_mask=torch.ones(1, 1, dtype=torch.bool),
        )
    )


def test_values_by_hand() -> None:
    features = by_hand([0.95, 0.95], 0.97)
    assert make()(features).value.item() == pytest.approx(95 + math.log(2))
    assert make("self")(features).value.item() == pytest.approx(math.log1p(2 * math.exp(-5)))
    assert make("caption")(features).value.item() == pytest.approx(math.log1p(2 * math.exp(-2)))


@pytest.mark.parametrize("positive", ["none", "self", "caption"])
def test_pushes_own_negatives_away_and_pulls_the_positive_alone(positive: str) -> None:
    features = by_hand([0.95, 0.9], 0.97)
    found = gradients(make(positive)(features).value, features)
    away = (found["negative_text"][0] @ features.text[0]).tolist()
    assert away[0] > away[1] > 0, "the nearer is pushed more"
    pull = (found["positive_text"][0, 0] @ features.text[0]).item()
    assert pull < 0 if positive == "caption" else pull == 0
    assert (found["image"] == 0).all(), "within the modality of text"


def test_the_gradient_to_the_logit_scale_has_one_sign_without_positive() -> None:
    for seed in range(5):
        features = make_features(seed, masked=False)
        with torch.no_grad():
            features.negative_text.copy_(
                torch.nn.functional.normalize(features.negative_text + features.text[:, None], dim=-1)
            )
        assert gradients(make()(features).value, features)["logit_scale"] > 0
        assert gradients(make("self")(features).value, features)["logit_scale"] < 0
        assert gradients(make(detach_scale=True)(features).value, features)["logit_scale"] == 0


def test_the_bounds_of_the_docstring() -> None:
    for seed in range(5):
        features = make_features(seed, rows=1, slots=4, masked=False, scale=30.0)
        value = make()(features).value
        assert math.log(4) - 30 <= value.item() <= math.log(4) + 30
        assert gradients(value, features)["text"].norm() <= 30
        assert make("self")(features).value >= 0
        assert make("caption")(features).value >= 0


def test_own_captions_alone_or_all() -> None:
    features = make_features(masked=False)
    first = make()(features).value
    with torch.no_grad():
        features.negative_text[1:] = features.negative_text[1:].flip(0)
    changed = gradients(make("none", "own")(features).value, features)["negative_text"]
    assert torch.allclose(
        torch.nn.functional.cosine_similarity(changed, features.text[:, None], dim=-1),
        torch.ones((), dtype=torch.float64),
    )
    assert first != make()(features).value


def test_reports_positives() -> None:
    features = make_features()
    report = make("caption", without_positive="self")(features).report
    assert list(report) == ["similarity", "positive_similarity", "positives"]
    assert report["positives"].item() == pytest.approx(4 / 5)
    assert list(make()(features).report) == ["similarity"]


@pytest.mark.parametrize("form", ["none", "self"])
def test_data_without_positives_give_the_form_that_was_asked_for(form: str) -> None:
    features = make_features()
    bare = replace(features, positive_text=torch.zeros(0, 0), positive_text_mask=torch.zeros(0, 0))
    assert bare.positive_text.shape == (5, 0, 6)
    assert make("caption", without_positive=form)(bare).value.item() == make(form)(features).value.item()
    assert make("caption", without_positive=form).needs == {"negative_text"}


def test_needs_and_refusals() -> None:
    assert make().needs == {"negative_text"}
    assert make("caption").needs == {"negative_text", "positive_text"}
    with pytest.raises(ConfigError, match=r"positive: 'captoin' is not one of .* Did you mean 'caption'"):
        make("captoin")
    with pytest.raises(ConfigError, match="scope"):
        make(scope="none")
    with pytest.raises(
        ConfigError, match=r"without_positive: 'self' is for positive 'caption', not 'none'; leave it out"
    ):
        make(without_positive="self")


def gathered(rank: int, world: int) -> tuple[Any, Any]:
    """The positives of all ranks, and the gradient of this rank's from a sum in which row r weighs r + 1."""
    whole = make_features(rows=6)
    mine = as_leaves(
        replace(
            whole,
            **{
                name: value[3 * rank : 3 * rank + 3]
                for name, value in vars(whole).items()
                if isinstance(value, torch.Tensor) and value.dim() and len(value) == 6
            },
        )
    )
    everyone = mine.gather().all
    assert torch.equal(everyone.positive_text, whole.positive_text)
    assert torch.equal(everyone.positive_text_mask, whole.positive_text_mask)
    value = (everyone.positive_text.sum((1, 2)) * torch.arange(1, 7)).sum()
    (found,) = torch.autograd.grad(value, mine.positive_text)
    bare = replace(mine, positive_text=mine.positive_text[:, :0], positive_text_mask=mine.positive_text_mask[:, :0])
    return found[:, 0, 0].tolist(), tuple(bare.gather().all.positive_text.shape)


def test_positives_of_all_ranks_are_gathered_with_gradient(two_ranks: Ranks) -> None:
    first, second = two_ranks.run(gathered)
    assert first[0] == [2, 4, 6]  # summed over both ranks
    assert second[0] == [8, 10, 12]
    assert first[1] == second[1] == (6, 0, 6)
