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
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from gloo_ranks import Ranks
from torch import Tensor
from torch.nn.functional import normalize

from lightning_cr import distributed
from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Loss, Term
from lightning_cr.negatives.image import VisualPerturbation

Images = Literal["none", "pixels", "paired", "perturbation"]  # pixels: 2 a row; paired: one to each slot of text
VECTORS = ("image", "text", "negative_text", "negative_image", "positive_text")
ROWS = 4  # a rank


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


def kind_names(count: int) -> tuple[str, ...]:
    return tuple(f"kind{k}" for k in range(count))


def make_features(
    seed: int = 0,
    rows: int = 5,
    slots: int = 3,
    images: Images = "none",
    dtype: torch.dtype = torch.float64,
    scale: float = 12.0,
    dim: int = 6,
    masked: bool = True,
) -> Features:
    """Unit vectors as leaves with gradient; captions near their image, hard negatives near their caption.

    With ``masked``: slot 0 of every row but the first, all slots of the last row, and some others are empty; the last
    two rows show one image. Of two positive texts row 1 has none, and the others one or two.
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    pictures = {"pixels": 2, "paired": slots}.get(images, 0)
    image = normalize(noise(rows, dim), dim=-1)
    text = normalize(image + 0.5 * noise(rows, dim), dim=-1)
    negative_text = normalize(text[:, None] + 0.4 * noise(rows, slots, dim), dim=-1)
    negative_image = normalize(image[:, None] + 0.4 * noise(rows, pictures, dim), dim=-1)
    masks = [torch.rand(rows, n, generator=generator) < 0.7 for n in (slots, pictures)]
    for mask in masks:
        mask[:1] = True
        if masked and rows > 1:
            mask[1:, :1] = False
            mask[-1] = False
        elif not masked:
            mask[:] = True
    ids = torch.arange(rows)
    if rows > 2:
        ids[-1] = ids[-2]
    positive_text, positive_mask = _positives(text, seed, masked)
    features = Features(
        image=image,
        text=text,
        negative_text=negative_text * masks[0][..., None],
        negative_text_mask=masks[0],
        negative_image=negative_image * masks[1][..., None],
        negative_image_mask=masks[1],
        concreteness=torch.rand(rows, slots, generator=generator, dtype=torch.float64) * masks[0],
        kinds=kind_names(slots),
        sample_ids=torch.arange(rows),
        image_ids=ids,
        logit_scale=torch.tensor(scale, dtype=torch.float64),
        positive_text=normalize(positive_text, dim=-1) * positive_mask[..., None],
        positive_text_mask=positive_mask,
        initial_image=normalize(image + 0.3 * noise(rows, dim), dim=-1),
        initial_text=normalize(text + 0.3 * noise(rows, dim), dim=-1),
    )
    if images == "perturbation":
        features = VisualPerturbation()(features)
    return as_leaves(features, dtype)


def _positives(text: Tensor, seed: int, masked: bool) -> tuple[Tensor, Tensor]:
    """Texts near the captions; a generator of its own, so that all else stays what it was."""
    generator = torch.Generator().manual_seed(seed + 500)
    noise = torch.randn(len(text), 2, text.shape[1], generator=generator, dtype=torch.float64)
    mask = torch.rand(len(text), 2, generator=generator) < 0.6
    mask[:, 0] = True
    if masked:
        mask[1:2] = False
    return text[:, None] + 0.4 * noise, mask


def as_leaves(features: Features, dtype: torch.dtype | None = None) -> Features:
    """Copies whose floating tensors are leaves; the vectors and the logit scale have a gradient."""
    changed: dict[str, Any] = {}
    for field in fields(features):
        value = getattr(features, field.name)
        if isinstance(value, Tensor) and value.is_floating_point():
            changed[field.name] = value.detach().clone().to(dtype or value.dtype)
            changed[field.name].requires_grad_(field.name in (*VECTORS, "logit_scale"))
    return replace(features, **changed)


def leaves(features: Features) -> dict[str, Tensor]:
    return {name: getattr(features, name) for name in (*VECTORS, "logit_scale")}


def gradients(value: Tensor, features: Features) -> dict[str, Tensor]:
    wanted = leaves(features)
    found = torch.autograd.grad(value, list(wanted.values()), allow_unused=True)
    return {n: torch.zeros_like(w) if g is None else g for (n, w), g in zip(wanted.items(), found, strict=True)}


def bound(loss: Loss, slots: int, dtype: torch.dtype = torch.float64) -> Loss:
    """A copy in training mode that knows its kinds."""
    loss = copy.deepcopy(loss).to(dtype)
    loss.bind(kind_names(slots))
    return loss.train()


def warmed(case: Case, slots: int, dtype: torch.dtype = torch.float64) -> Loss:
    """A copy in evaluation mode that has seen one batch, so that its thresholds are not 0."""
    loss = bound(case.loss, slots, dtype)
    loss(make_features(seed=99, slots=slots, images=case.images, dtype=dtype, masked=False))
    return loss.eval()


def logit(f: Features, a: Tensor, b: Tensor) -> float:
    """For oracles: the logit of two vectors in plain Python."""
    return f.logit_scale.item() * sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


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
        with torch.no_grad():
            dirty.negative_text[~dirty.negative_text_mask] = 3.7
            dirty.negative_image[~dirty.negative_image_mask] = -2.9
            dirty.positive_text[~dirty.positive_text_mask] = 1.3
        values = [loss(f).value for f in (clean, dirty)]
        assert values[0].item() == values[1].item()
        first, second = (gradients(v, f) for v, f in zip(values, (clean, dirty), strict=True))
        for name in first:
            torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-14)
        assert (second["negative_text"][~dirty.negative_text_mask] == 0).all()
        assert (second["negative_image"][~dirty.negative_image_mask] == 0).all()
        assert (second["positive_text"][~dirty.positive_text_mask] == 0).all()

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


def check_two_ranks(loss: Loss, images: Images, slots: int, ranks: Ranks) -> None:
    expected = trajectory(loss, images, slots, 0, 1)
    found = ranks.run(trajectory, loss, images, slots)
    for step, (one, *shares) in enumerate(zip(expected, *found, strict=True)):
        for name, whole in one.items():
            parts = [share[name] for share in shares]
            if name.startswith("row"):
                np.testing.assert_allclose(
                    np.concatenate(parts), whole, rtol=1e-9, atol=1e-12, err_msg=f"{step} {name}"
                )
                continue
            for part in parts:
                np.testing.assert_allclose(part, whole, rtol=1e-9, atol=1e-12, err_msg=f"step {step}, {name}")


def trajectory(loss: Loss, images: Images, slots: int, rank: int, world: int) -> list[dict[str, np.ndarray]]:
    """Five optimiser steps as DDP does them: the mean over ranks of the shared gradients; data from the step alone."""
    loss = bound(loss, slots)
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(8, 6, generator=generator, dtype=torch.float64) for _ in range(2)]
    shared = [*weights, torch.tensor(2.5, dtype=torch.float64)]
    steps = []
    for step in range(5):
        if step == 4:
            loss.on_epoch_start()
        whole = _raw(step, 2 * ROWS, slots, images)
        per_rank = 2 * ROWS // world
        mine = {n: v[rank * per_rank : (rank + 1) * per_rank] for n, v in whole.items()}
        rows = {n: mine[n].clone().requires_grad_() for n in VECTORS}
        shared = [p.detach().requires_grad_() for p in shared]
        term = loss(_encode(rows, mine, shared, slots, images).gather())
        inputs = [*shared, *rows.values()]
        found = torch.autograd.grad(term.value, inputs, allow_unused=True)
        filled = [torch.zeros_like(i) if g is None else g for i, g in zip(inputs, found, strict=True)]
        means = [distributed.all_reduce_sum(g) / world for g in filled[:3]]
        shared = [p.detach() - 0.05 * g for p, g in zip(shared, means, strict=True)]
        record = {"value": distributed.all_reduce_sum(term.value) / world}
        record |= {f"gradient {n}": g for n, g in zip(("image", "text", "scale"), means, strict=True)}
        # The gathering sums over ranks and DDP divides; so does this for the rows, which are no one else's.
        record |= {f"row {n}": g / world for n, g in zip(rows, filled[3:], strict=True)}
        record |= {f"buffer {n}": b for n, b in loss.named_buffers()}
        steps.append({n: v.detach().numpy() for n, v in record.items()})
    return steps


def _raw(step: int, rows: int, slots: int, images: Images) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1000 + step)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    image = noise(rows, 8)
    text = image + 0.3 * noise(rows, 8)
    masks = {}
    pictures = {"pixels": 2, "paired": slots}.get(images, 0)
    for name, count, share in (("negative_text_mask", slots, 0.6), ("negative_image_mask", pictures, 0.5)):
        mask = torch.rand(rows, count, generator=generator) < share
        if step == 0:
            mask[:ROWS] = True  # rank 0 holds all, rank 1 some: other counts on each
        if step == 1:
            mask[:ROWS, -1:] = False  # a kind absent on rank 0 only
            mask[ROWS:, -1:] = True
        if step == 2:
            mask[:, :1] = False  # a kind absent everywhere: its threshold is carried
        if step == 3:
            mask[ROWS:] = False  # rank 1 has no negative at all
        masks[name] = mask
    positive_text, positive_mask = _positives(text, 2000 + step, True)
    image_ids = torch.arange(rows)
    image_ids[-1] = 1  # two captions of one image, on different ranks
    return {
        "image": image,
        "text": text,
        "negative_text": text[:, None] + 0.3 * noise(rows, slots, 8),
        "negative_image": image[:, None] + 0.3 * noise(rows, pictures, 8),
        "concreteness": torch.rand(rows, slots, generator=generator, dtype=torch.float64),
        "image_ids": image_ids,
        "sample_ids": torch.arange(rows),
        "positive_text": positive_text,
        "positive_text_mask": positive_mask,
        **masks,
        "initial_image": normalize(image + 0.2 * noise(rows, 8), dim=-1)[:, :6],
        "initial_text": normalize(text + 0.2 * noise(rows, 8), dim=-1)[:, :6],
    }


def _encode(
    rows: dict[str, Tensor], mine: dict[str, Tensor], shared: list[Tensor], slots: int, images: Images
) -> Features:
    vectors = {n: normalize(rows[n] @ shared["text" in n], dim=-1) for n in VECTORS}
    for name in VECTORS[2:]:
        mask = mine[f"{name}_mask"][..., None]
        vectors[name] = torch.where(mask, vectors[name], torch.zeros_like(vectors[name]))
    rest = {n: v for n, v in mine.items() if n not in VECTORS}
    features = Features(**vectors, **rest, kinds=kind_names(slots), logit_scale=shared[2].exp())
    return VisualPerturbation()(features) if images == "perturbation" else features
