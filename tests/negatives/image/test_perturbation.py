from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.negatives.image import FeatureNegatives, VisualPerturbation


def make_features(rows: int = 4, slots: int = 3, dtype: torch.dtype = torch.float64, dim: int = 5) -> Features:
    torch.manual_seed(0)
    mask = torch.rand(rows, slots) < 0.6
    mask[0], mask[-1] = True, False

    def unit(*shape: int) -> torch.Tensor:
        return normalize(torch.randn(*shape, dim, dtype=torch.float64), dim=-1).to(dtype)

    return Features(
        image=unit(rows).requires_grad_(),
        text=unit(rows).requires_grad_(),
        negative_text=(unit(rows, slots) * mask[..., None]).requires_grad_(),
        negative_text_mask=mask,
        negative_image=torch.zeros(rows, 0, dim, dtype=dtype),
        negative_image_mask=torch.zeros(rows, 0, dtype=torch.bool),
        concreteness=torch.zeros(rows, slots, dtype=dtype),
        kinds=tuple(f"kind{k}" for k in range(slots)),
        sample_ids=torch.arange(rows),
        image_ids=torch.arange(rows),
        logit_scale=torch.tensor(10.0, dtype=dtype),
    )


@pytest.mark.parametrize("normal", [True, False])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_matches_loops(normal: bool, scale: float) -> None:
    features = make_features()
    moved = VisualPerturbation(normalize=normal, scale=scale)(features)
    assert torch.equal(moved.negative_image_mask, features.negative_text_mask)
    for i in range(4):
        for k in range(3):
            expected = features.image[i] + scale * (features.negative_text[i, k] - features.text[i])
            expected = expected / expected.norm() if normal else expected
            if not features.negative_text_mask[i, k]:
                expected = torch.zeros(5, dtype=torch.float64)
            torch.testing.assert_close(moved.negative_image[i, k], expected)


@pytest.mark.parametrize("normal", [True, False])
def test_empty_slots_are_exactly_zero_and_rubbish_in_them_is_nothing(normal: bool) -> None:
    results = []
    for rubbish in (0.0, 3.3):
        features = make_features()
        with torch.no_grad():
            features.negative_text[~features.negative_text_mask] = rubbish
        moved = VisualPerturbation(detach=False, normalize=normal)(features)
        assert (moved.negative_image[~moved.negative_image_mask] == 0).all()
        results.append(torch.autograd.grad(moved.negative_image.pow(3).sum(), [features.image, features.negative_text]))
        assert (results[-1][1][~features.negative_text_mask] == 0).all()
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_gradient_reaches_the_image_alone() -> None:
    features = make_features()
    moved = VisualPerturbation()(features).negative_image.pow(3).sum()
    image, text, negative = torch.autograd.grad(
        moved, [features.image, features.text, features.negative_text], allow_unused=True
    )
    assert image.abs().max() > 0
    assert text is None
    assert negative is None


def test_gradient_reaches_the_captions_too_where_asked() -> None:
    features = make_features()
    moved = VisualPerturbation(detach=False)(features).negative_image.pow(3).sum()
    for gradient in torch.autograd.grad(moved, [features.image, features.text, features.negative_text]):
        assert gradient.abs().max() > 0


@pytest.mark.parametrize(("rows", "slots"), [(1, 1), (1, 3), (4, 1), (3, 0)])
def test_shapes(rows: int, slots: int) -> None:
    moved = VisualPerturbation()(make_features(rows, slots))
    assert moved.negative_image.shape == (rows, slots, 5)
    norms = moved.negative_image.norm(dim=-1)
    torch.testing.assert_close(norms, moved.negative_image_mask.to(norms.dtype))


def test_caption_equal_to_its_negative_leaves_the_image() -> None:
    features = make_features()
    features = replace(features, negative_text=features.text[:, None].expand(-1, 3, -1))
    moved = VisualPerturbation()(features)
    own = features.image[:, None].expand(-1, 3, -1)
    torch.testing.assert_close(moved.negative_image[moved.negative_image_mask], own[moved.negative_image_mask])


def test_opposite_step_has_finite_gradients() -> None:
    """I + N - T = 0: a vector without direction."""
    features = make_features(dtype=torch.float32)
    with torch.no_grad():
        features.negative_text[0] = features.text[0] - features.image[0]
    moved = VisualPerturbation()(features).negative_image
    assert moved.isfinite().all()
    assert torch.autograd.grad(moved.sum(), features.image)[0].isfinite().all()


def test_pixels_are_not_thrown_away() -> None:
    features = make_features()
    pixels = replace(
        features, negative_image=torch.zeros(4, 2, 5), negative_image_mask=torch.ones(4, 2, dtype=torch.bool)
    )
    with pytest.raises(ConfigError, match=r"VisualPerturbation .* already brings 2 a sample as pixels"):
        VisualPerturbation()(pixels)


def test_runs_before_the_gathering() -> None:
    features = make_features()
    with pytest.raises(ValueError, match=r"before Features\.gather"):
        VisualPerturbation()(replace(features, gathered=features))


def test_door_zeroes_empty_slots_for_everyone() -> None:
    class Constant(FeatureNegatives):
        def make(self, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
            mask = torch.tensor([[True, False]]).expand(len(features), 2)
            return torch.ones(len(features), 2, features.image.shape[1]), mask

    moved: Any = Constant()(make_features())
    assert (moved.negative_image[:, 0] == 1).all()
    assert (moved.negative_image[:, 1] == 0).all()


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_step_of_no_length_is_refused(scale: float) -> None:
    with pytest.raises(ConfigError, match=r"^scale: .* must be greater than 0"):
        VisualPerturbation(scale=scale)
