from __future__ import annotations

from typing import Any

import pytest
import torch
from loss_features import bound, kind_names, make_features

from lightning_cr.errors import ConfigError
from lightning_cr.losses import CrossModalRankLoss, DynamicMarginLoss, Loss
from lightning_cr.losses.threshold import AdaptiveThreshold

KINDS = ("relation", "attribute")


def make(mode: Any = "mean", kinds: tuple[str, ...] = KINDS, **options: Any) -> AdaptiveThreshold:
    threshold = AdaptiveThreshold(mode, **options).double()
    threshold.bind(kinds)
    return threshold


def gaps(*rows: list[float | None]) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaps and mask; None is an empty slot, with rubbish in it."""
    gap = torch.tensor([[777.0 if g is None else g for g in row] for row in rows], dtype=torch.float64)
    return gap, torch.tensor([[g is not None for g in row] for row in rows])


def test_mean_of_the_valid_is_used_at_the_next_step() -> None:
    threshold = make()
    assert threshold(*gaps([1.0, 4.0], [3.0, None]), KINDS).tolist() == [0, 0]
    assert threshold(*gaps([5.0, 6.0]), KINDS).tolist() == [2, 4]
    assert threshold.value.tolist() == [5, 6]


def test_max_is_divided() -> None:
    threshold = make("max")
    threshold(*gaps([1.0, 4.0], [3.0, None], [2.0, -9.0]), KINDS)
    assert threshold.value.tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_clamped(mode: str) -> None:
    threshold = make(mode, upper_bound=2.5)
    threshold(*gaps([-7.0, 70.0]), KINDS)
    assert threshold.value.tolist() == [0, 2.5]


def test_fixed_is_neither_clamped_nor_moved_nor_reset() -> None:
    threshold = make("fixed", fixed=30.0, upper_bound=10.0)
    for _ in range(2):
        assert threshold(*gaps([1.0, 2.0]), KINDS).tolist() == [30, 30]
        threshold.reset()


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_absent_kind_keeps_its_threshold_b4(mode: str) -> None:
    """B4: the public code gives NaN, AHNPL's the upper bound, and both stay for the rest of the epoch."""
    threshold = make(mode)
    threshold(*gaps([1.0, 2.0], [2.0, 3.0]), KINDS)
    before = threshold.value.tolist()
    threshold(*gaps([6.0, None], [7.0, None]), KINDS)
    assert threshold.value[1] == before[1] > 0
    assert threshold.value[0] != before[0]
    threshold(*gaps([None, None]), KINDS)
    assert threshold.value.isfinite().all()


def test_validity_is_the_mask_not_the_value_b6() -> None:
    """B6: a valid hard negative whose logit is exactly 0 counts."""
    loss = bound(CrossModalRankLoss(), 1)
    features = make_features(rows=2, slots=1, masked=False)
    with torch.no_grad():
        features.negative_text[0] = 0.0
    loss(features)
    positive, negative = (
        (features.logit_scale * features.image * other).sum(-1)
        for other in (features.text, features.negative_text[:, 0])
    )
    torch.testing.assert_close(loss.threshold.value[0], (positive - negative).mean())


def test_one_kind_is_not_broadcast_b5() -> None:
    """B5: a squeeze makes (B, B) of K = 1; each row has its own positive."""
    loss = bound(CrossModalRankLoss(threshold="fixed", fixed=50.0), 1)
    features = make_features(rows=4, slots=1, masked=False)
    positive, negative = (
        (features.logit_scale * features.image * other).sum(-1)
        for other in (features.text, features.negative_text[:, 0])
    )
    torch.testing.assert_close(loss(features).value, (50 + negative - positive).mean())


@pytest.mark.parametrize("loss", [CrossModalRankLoss(), DynamicMarginLoss()])
def test_batch_may_change_its_size_b7(loss: Loss) -> None:
    loss = bound(loss, 3)
    for rows in (5, 2, 1, 7):
        assert loss(make_features(rows=rows)).value.isfinite()
        assert loss.threshold.value.shape == (3,)  # type: ignore[union-attr]


@pytest.mark.parametrize("slots", [0, 1, 2, 5, 9])
def test_any_number_of_kinds_b8(slots: int) -> None:
    loss = bound(CrossModalRankLoss(), slots)
    report = [loss(make_features(slots=slots)).report for _ in range(2)][1]
    assert len(report) == 2 * slots


def test_evaluation_does_not_move_them() -> None:
    threshold = make().eval()
    threshold(*gaps([1.0, 2.0]), KINDS)
    assert threshold.value.tolist() == [0, 0]


def test_no_gradient_through_the_threshold() -> None:
    loss = bound(CrossModalRankLoss(), 3)
    loss(make_features(1))
    assert not loss.threshold.value.requires_grad


@pytest.mark.parametrize("loss", [CrossModalRankLoss, DynamicMarginLoss])
@pytest.mark.parametrize("reset", [True, False])
def test_epoch_start(loss: Any, reset: bool) -> None:
    term = bound(loss(reset_each_epoch=reset), 3)
    term(make_features(masked=False))
    before = term.threshold.value.clone()
    term.on_epoch_start()
    assert torch.equal(term.threshold.value, torch.zeros(3, dtype=torch.float64) if reset else before)
    assert before.abs().max() > 0


@pytest.mark.parametrize("loss", [CrossModalRankLoss, DynamicMarginLoss])
def test_state_dict_round_trip(loss: Any, tmp_path: Any) -> None:
    """In one file with weights_only, as a checkpoint is read."""
    first, second = bound(loss(), 3), bound(loss(), 3)
    first(make_features(masked=False))
    torch.save(first.state_dict(), tmp_path / "loss.pt")
    second.load_state_dict(torch.load(tmp_path / "loss.pt", weights_only=True))
    assert torch.equal(second.threshold.value, first.threshold.value)
    assert second.threshold.value.abs().max() > 0


def test_binding_again_keeps_and_binding_otherwise_is_refused() -> None:
    threshold = make()
    threshold(*gaps([1.0, 2.0]), KINDS)
    threshold.bind(KINDS)
    assert threshold.value.tolist() == [1, 2]
    with pytest.raises(
        ConfigError, match="this run has the kinds attribute, relation, but these thresholds are for relation, att"
    ):
        threshold.bind(KINDS[::-1])


@pytest.mark.parametrize("kinds", [KINDS[::-1], ()])
def test_checkpoint_of_other_kinds_is_refused(kinds: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="the checkpoint has the kinds relation, attribute"):
        make(kinds=kinds).load_state_dict(make().state_dict())


def test_fixed_value_comes_from_the_configuration_not_the_checkpoint() -> None:
    threshold = make("fixed", fixed=4.0)
    threshold.load_state_dict(make("fixed", fixed=3.0).state_dict())
    assert threshold.value.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "meen"}, r"^threshold: 'meen' is not one of fixed, mean, max\. Did you mean 'mean'\?$"),
        ({"upper_bound": -1.0}, r"^upper_bound: -1\.0"),
        ({"max_divisor": 0.0}, r"^max_divisor: 0\.0"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AdaptiveThreshold(**options)


def test_module_follows_its_device_and_dtype() -> None:
    """A3: AHNPL's loss is never moved to the GPU; here all state is buffers."""
    threshold = AdaptiveThreshold()
    threshold.bind(kind_names(2))
    moved = threshold.to("meta")
    assert {b.device.type for b in moved.buffers()} == {"meta"}
