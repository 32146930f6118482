"""What every term must hold, checked by subclassing; a new term's test file is its oracle and a class::

def oracle(loss: MyLoss, f: Features) -> float: ...  # plain loops, no autograd, no broadcasting

class TestMyLoss(LossTests):
    cases = (Case("default", MyLoss(), oracle), Case("images", MyLoss(option=1), oracle, images="pixels"))
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import pytest
import torch
from gloo_ranks import Ranks
from loss_features import MASKED, VECTORS, Images, as_leaves, bound, gradients, leaves, make_features
from rank_trajectory import check_two_ranks
from torch import Tensor

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Loss, Term


@dataclass(frozen=True)
class Case:
    """A term with its options.

    Attributes:
        name: Test id.
        loss: Not yet bound; each check works on a copy.
        oracle: The same value by plain loops; may read the thresholds in force from the loss.
        images: Where its negative images come from.
        silent: Without any negative the term is exactly 0.
    """

    name: str
    loss: Loss
    oracle: Callable[[Any, Features], float]
    images: Images = "none"
    silent: bool = True


def warmed(case: Case, slots: int, dtype: torch.dtype = torch.float64) -> Loss:
    """A copy in evaluation mode that has seen one batch, so that its thresholds are not 0."""
    loss = bound(case.loss, slots, dtype)
    loss(make_features(seed=99, slots=slots, images=case.images, dtype=dtype, masked=False))
    return loss.eval()


class LossTests:
    cases: ClassVar[tuple[Case, ...]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", self.cases, ids=[case.name for case in self.cases])

    @pytest.mark.parametrize(("rows", "slots"), [(5, 3), (3, 5), (4, 1), (1, 3), (1, 1), (3, 0)])
    def test_matches_naive_loops(self, case: Case, rows: int, slots: int) -> None:
        if slots == 0 and case.images in ("perturbation", "paired"):
            with pytest.raises(ConfigError, match=r"model\.image_negatives"):
                bound(case.loss, slots)(make_features(0, rows, slots))
            return
        loss = warmed(case, slots)
        for seed in range(3):
            features = make_features(seed, rows, slots, case.images)
            value = loss(features).value
            assert value.dtype == torch.float64
            torch.testing.assert_close(value.item(), case.oracle(loss, features), rtol=1e-9, atol=1e-12)

    def test_gradcheck(self, case: Case) -> None:
        loss = warmed(case, 2)
        features = make_features(3, rows=3, slots=2, images=case.images, dim=4)
        used = {name: leaf for name, leaf in leaves(features).items() if leaf.numel()}

        def value(*tensors: Tensor) -> Tensor:
            changed: dict[str, Any] = dict(zip(used, tensors, strict=True))
            return loss(replace(features, **changed)).value

        assert torch.autograd.gradcheck(value, tuple(used.values()), fast_mode=True)

    def test_empty_slots_are_nothing(self, case: Case) -> None:
        loss = warmed(case, 3)
        clean = make_features(images=case.images)
        dirty = as_leaves(clean)
        empty = {name: ~getattr(dirty, f"{name}_mask") for name in MASKED}
        with torch.no_grad():
            for name, filling in zip(MASKED, (3.7, -2.9, 1.3), strict=True):
                getattr(dirty, name)[empty[name]] = filling
        values = [loss(f).value for f in (clean, dirty)]
        assert values[0].item() == values[1].item()
        first, second = (gradients(v, f) for v, f in zip(values, (clean, dirty), strict=True))
        for name in first:
            torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-14)
        assert all((second[name][slots] == 0).all() for name, slots in empty.items())

    def test_order_of_samples_is_nothing(self, case: Case) -> None:
        loss = warmed(case, 3)
        features = make_features(images=case.images)
        order = torch.tensor([3, 0, 4, 2, 1])
        rows = {f.name: getattr(features, f.name) for f in fields(features) if f.name not in ("kinds", "logit_scale")}
        moved: dict[str, Any] = {n: v.detach()[order] for n, v in rows.items() if isinstance(v, Tensor)}
        shuffled = as_leaves(replace(features, **moved))
        values = [loss(f).value for f in (features, shuffled)]
        torch.testing.assert_close(values[0], values[1])
        first, second = (gradients(v, f) for v, f in zip(values, (features, shuffled), strict=True))
        for name in VECTORS:
            torch.testing.assert_close(first[name][order], second[name])

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_is_cast_up(self, case: Case, dtype: torch.dtype) -> None:
        loss = warmed(case, 3, torch.float32)
        half = make_features(images=case.images, dtype=dtype, scale=100.0)
        full = as_leaves(half, torch.float32)
        value = loss(half).value
        assert value.dtype == torch.float32
        assert value.item() == loss(full).value.item()
        assert all(g.isfinite().all() for g in gradients(value, half).values())

    def test_autocast_is_off_inside(self, case: Case) -> None:
        loss = warmed(case, 3, torch.float32)
        features = make_features(images=case.images, dtype=torch.float32)
        plain = loss.forward(features).value
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(features).value
        assert value.item() == plain.item()
        expected, found = gradients(plain, features), gradients(value, features)
        assert all(torch.equal(expected[name], found[name]) for name in expected)

    @pytest.mark.parametrize("training", [True, False])
    def test_without_any_negative(self, case: Case, training: bool) -> None:
        loss = warmed(case, 3).train(training)
        features = make_features(images=case.images)
        masks = {n: torch.zeros_like(getattr(features, n)) for n in ("negative_text_mask", "negative_image_mask")}
        features = replace(features, **masks)
        for _ in range(2):
            expected = case.oracle(loss, features)
            value = loss(features).value
            assert value.requires_grad
            torch.testing.assert_close(value.item(), expected, rtol=1e-9, atol=1e-12)
            found = gradients(value, features)
            assert (found["negative_text"] == 0).all()
            assert (found["negative_image"] == 0).all()
            if case.silent:
                assert value.item() == 0.0
                assert all((g == 0).all() for g in found.values())

    def test_extreme_geometry_stays_finite_at_scale_100(self, case: Case) -> None:
        loss = warmed(case, 3, torch.float32)
        features = make_features(images=case.images, dtype=torch.float32, scale=100.0)
        with torch.no_grad():
            features.text[0] = -features.image[0]
            features.negative_text[0] = features.image[0]
            features.negative_image[:1] = -features.image[0]
        value = loss(features).value
        assert value.isfinite()
        assert all(g.isfinite().all() for g in gradients(value, features).values())

    def test_report_is_scalars_under_the_same_keys(self, case: Case) -> None:
        loss = bound(case.loss, 3)
        full = loss(make_features(images=case.images, masked=False)).report
        gaps = loss(make_features(1, images=case.images)).report
        assert list(full) == list(gaps)
        for scalar in (full | gaps).values():
            assert scalar.shape == ()
            assert not scalar.requires_grad
            assert scalar.isfinite()

    def test_state_travels(self, case: Case) -> None:
        loss = warmed(case, 3)
        features = make_features(images=case.images)
        fresh = bound(case.loss, 3).eval()
        fresh.load_state_dict(loss.state_dict())
        for twin in (fresh, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
            assert twin(features).value.item() == loss(features).value.item()

    def test_trains_alone_and_holds_no_parameter(self, case: Case) -> None:
        """A3: nothing that an optimiser, a device move or a checkpoint could forget. A9: any term alone is a loss."""
        loss = bound(case.loss, 3)
        loss(make_features(98, images=case.images))
        term = loss(make_features(images=case.images))
        assert isinstance(term, Term)
        term.value.backward()
        assert not list(loss.parameters())

    @pytest.mark.parametrize("slots", [1, 3, 5])
    def test_two_ranks_equal_one_process(self, case: Case, slots: int, two_ranks: Ranks) -> None:
        """A4, A5, A6, B8, B10: values, gradients and thresholds, with a kind absent on one rank only."""
        check_two_ranks(case.loss, case.images, slots, two_ranks)
