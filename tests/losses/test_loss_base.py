"""The shared parts, and that the harness catches what it is for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gloo_ranks import Ranks
from loss_features import make_features
from loss_harness import Case, LossTests
from rank_trajectory import check_two_ranks

from lightning_cr.batch import Features
from lightning_cr.losses import Loss, Term
from lightning_cr.losses.base import cosine, full_precision, hide, masked_mean


class LocalCount(Loss):
    """Divides by the valid entries of its own rank."""

    def forward(self, features: Features) -> Term:
        lead = cosine(features.image, features.negative_text).masked_fill(~features.negative_text_mask, 0.0)
        return Term(lead.sum() / features.negative_text_mask.sum().clamp(min=1))


class LocalColumns(Loss):
    """Takes the captions of its own rank for all."""

    def forward(self, features: Features) -> Term:
        return Term((features.logit_scale * features.image @ features.text.T).logsumexp(1).mean())


class NoGradientFromOthers(Loss):
    """Gathers without gradient, as open_clip does by default: values right, gradients wrong."""

    def forward(self, features: Features) -> Term:
        columns = features.all.text.detach().clone()
        columns[features.targets] = features.text
        return Term((features.logit_scale * features.image @ columns.T).logsumexp(1).mean())


class Unmasked(Loss):
    def forward(self, features: Features) -> Term:
        return Term(cosine(features.image, features.negative_text).exp().mean())


@pytest.mark.parametrize(
    "loss", [LocalCount(), LocalColumns(), NoGradientFromOthers()], ids=lambda loss: type(loss).__name__
)
def test_harness_catches_what_breaks_on_two_ranks(loss: Loss, two_ranks: Ranks) -> None:
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_two_ranks(loss, "none", 3, two_ranks)


def test_harness_catches_a_forgotten_mask() -> None:
    with pytest.raises(AssertionError):
        LossTests().test_empty_slots_are_nothing(Case("unmasked", Unmasked(), lambda *_: 0.0))


def _boom(rank: int, world: int) -> None:
    raise ValueError(f"boom {rank} of {world}")


def test_error_on_a_rank_reaches_the_test(two_ranks: Ranks) -> None:
    with pytest.raises(RuntimeError, match="boom 0 of 2"):
        two_ranks.run(_boom)


def test_masked_mean() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, float("nan")]], requires_grad=True)
    mask = torch.tensor([[True, False], [True, False]])
    assert masked_mean(values, mask).item() == 2.0
    nothing = masked_mean(values, torch.zeros_like(mask))
    assert nothing.item() == 0.0
    nothing.backward()
    assert values.grad is not None
    assert (values.grad == 0).all()


def test_cosine_of_the_positive_as_negative_is_the_very_same() -> None:
    features = make_features(dtype=torch.float32, dim=64)
    same = features.text[:, None].expand(-1, 3, -1)
    assert (cosine(features.image, same) == cosine(features.image, features.text[:, None])).all()


def test_hidden_entries_weigh_exactly_nothing() -> None:
    logits = torch.tensor([[-200.0, 300.0], [-5.0, 1.0]], requires_grad=True)
    mask = torch.tensor([[True, False], [False, False]])
    value = hide(logits, mask).logsumexp(1)
    assert value.isfinite().all()
    assert value[0].item() == -200.0
    value.sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("bfloat16", "float32"), ("float16", "float32"), ("float32", "float32"), ("float64", "float64")],
)
def test_full_precision(given: str, expected: str) -> None:
    features = make_features(dtype=getattr(torch, given))
    features.gathered = make_features(dtype=getattr(torch, given))
    cast: Any = full_precision(features)
    for view in (cast, cast.gathered):
        assert view.image.dtype == view.negative_text.dtype == view.logit_scale.dtype == getattr(torch, expected)
        assert view.negative_text_mask.dtype == torch.bool
        assert view.image_ids.dtype == torch.int64
