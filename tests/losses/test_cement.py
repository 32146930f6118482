"""The Cement-style (reconstructed) term against plain loops, and what it refuses; its properties have other files."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from loss_features import bound, gradients, logit, make_features
from loss_harness import Case, LossTests

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses import CementLoss, Term
from lightning_cr.losses.concreteness_margin import ConcretenessMargin
from lightning_cr.messages import parameters


class InTraining(CementLoss):
    """Margins are off in evaluation, which is the mode that the harness checks in: this one never leaves training."""

    def train(self, mode: bool = True) -> InTraining:
        return super().train(True)  # type: ignore[return-value]


class SomeUnrated(InTraining):
    """Of the harness's concreteness, what is above 0.6 becomes unrated."""

    def forward(self, features: Features) -> Term:
        gathered = features.gathered and unrate(features.gathered)
        return super().forward(replace(unrate(features), gathered=gathered))


def unrate(features: Features) -> Features:
    c = features.concreteness
    return replace(features, concreteness=c.masked_fill(c > 0.6, math.nan))


def margin_of(loss: CementLoss, f: Features, j: int, k: int) -> float:
    """Of item j's hard negative in slot k, by the docstring."""
    options: ConcretenessMargin = loss.margin
    if not loss.training or options.mode == "none" or not f.negative_text_mask[j, k]:
        return 0.0
    scale = options.initial_scale.item() or f.logit_scale.item()
    top = options.m_max
    if top is None:
        top = options.log_odds if options.units == "logit" else options.log_odds / scale
    if options.mode == "static":
        return top
    rated = [
        float(c) for c, there in zip(f.concreteness.flatten(), f.negative_text_mask.flatten(), strict=True) if there
    ]
    rated = [c for c in rated if not math.isnan(c)]
    c = float(f.concreteness[j, k])
    if math.isnan(c):
        c = (sum(rated) / len(rated) if rated else 0.5) if options.unrated == "mean" else float(options.unrated)
    if options.mode == "calibrated":
        return options.m_min + options.kappa * (between(options.knots, options.c_ref) - between(options.knots, c))
    if options.norm == "M/5":
        c = (1 + 4 * c) / 5
    if options.direction == "decreasing":
        c = 1 - c
    return options.m_min + (top - options.m_min) * c**options.gamma


def between(knots: list[tuple[float, float]], c: float) -> float:
    """Straight lines through the knots, flat beyond."""
    for (left, low), (right, high) in pairwise(knots):
        if left <= c <= right:
            return low + (high - low) * (c - left) / (right - left)
    return knots[0][1] if c < knots[0][0] else knots[-1][1]


def oracle(loss: CementLoss, f: Features) -> float:
    if isinstance(loss, SomeUnrated):
        f = unrate(f)
    scale = f.logit_scale.item()
    factor = scale if loss.margin.units == "cosine" else 1.0
    pictured = loss.layout != "text"
    vectors: dict[tuple[str, int, int], torch.Tensor] = {}  # sort, item, member; what exists
    for i in range(len(f)):
        vectors["image", i, 0], vectors["text", i, 0] = f.image[i], f.text[i]
        for k in range(f.negative_text.shape[1]):
            if f.negative_text_mask[i, k]:
                vectors["text", i, k + 1] = f.negative_text[i, k]
            if pictured and f.negative_image_mask[i, k]:
                vectors["image", i, k + 1] = f.negative_image[i, k]
    total = 0.0
    for sort, other in (("image", "text"), ("text", "image")):
        anchors = [(i, k) for s, i, k in vectors if s == sort and (other, i, k) in vectors]
        losses = [anchor_loss(loss, f, vectors, scale, factor, sort, other, i, k) for i, k in anchors]
        total += sum(losses) / len(losses) / 2
    return total


def anchor_loss(
    loss: CementLoss, f: Features, vectors: Any, scale: float, factor: float, sort: str, other: str, i: int, k: int
) -> float:
    anchor = vectors[sort, i, k]
    positive = logit(f, anchor, vectors[other, i, k])
    hard, terms = [], []
    for s, j, l in vectors:  # noqa: E741
        if s != other or (j, l) == (i, k):
            continue
        across = (k == 0) != (l == 0)
        if loss.layout == "triplet" and sort == "text" and across:
            continue
        if i != j and int(f.image_ids[i]) == int(f.image_ids[j]):
            # Only a false caption against the picture that it was made false for is sure to be false.
            caption, picture = ((i, k), (j, l)) if sort == "text" else ((j, l), (i, k))
            if not (caption[1] > 0 and picture[1] == 0):
                continue
        z = logit(f, anchor, vectors[s, j, l])
        m = factor * margin_of(loss, f, j, max(k, l) - 1) if across else 0.0
        if across and i == j:
            hard.append((z, m))
        shifted = loss.placement == "hard" and (i == j or loss.scope == "all")
        terms.append(z + m if shifted else z)
    if loss.placement == "positive" and hard:
        positive -= sum(m for _, m in hard) / len(hard)
    if loss.denominator == "standard":
        terms.append(positive)
    value = math.log(sum(math.exp(t) for t in terms)) - positive if terms else 0.0
    if loss.placement == "hinge" and loss.training and loss.margin.mode != "none" and hard:
        hinges = [max(0.0, m + z - positive) for z, m in hard]
        value += loss.hinge_weight * sum(hinges) / len(hard)
    return value


FALLING = [(0.15, 0.5), (0.3, 0.42), (0.35, 0.42), (0.8, 0.3)]
"""Knots of a calibrated map: no margin below 0.15, none more beyond 0.8, and flat between two of them."""


def case(name: str, kind: type[CementLoss] = InTraining, images: Any = "none", **options: Any) -> Case:
    layout = "text" if images == "none" else "joint"
    return Case(name, kind(**{"layout": layout} | options), oracle, images=images, silent=False)


class TestCement(LossTests):
    cases = (
        case("text"),
        case("evaluated", CementLoss),
        case("none", mode="none"),
        case("static", mode="static", m_max=0.2),
        case("positive", placement="positive"),
        case("hinge", placement="hinge", hinge_weight=0.7),
        case("decoupled", denominator="decoupled", units="logit"),
        case("all", scope="all", m_min=-0.1, m_max=0.3, gamma=2.0),
        case("decreasing", direction="decreasing", norm="M/5", gamma=0.5),
        case("calibrated", mode="calibrated", knots=FALLING),
        case("calibrated-rising", SomeUnrated, mode="calibrated", knots=[(0, 0.1), (1, 0.3)], kappa=2.0, c_ref=0.5),
        case("calibrated-logit", mode="calibrated", knots=FALLING, units="logit", kappa=9.0, m_min=-0.2, scope="all"),
        case("unrated-mean", SomeUnrated),
        case("unrated-value", SomeUnrated, unrated=0.9, units="logit"),
        case("joint", images="paired"),
        case("joint-perturbed", images="perturbation"),
        case("joint-all", images="paired", scope="all", units="logit"),
        case("joint-positive-decoupled", images="paired", placement="positive", denominator="decoupled"),
        case("joint-hinge-unrated", SomeUnrated, images="paired", placement="hinge"),
        case("triplet", images="paired", layout="triplet"),
        case("triplet-evaluated", CementLoss, images="perturbation", layout="triplet"),
    )


def test_rubbish_in_an_empty_slot_is_not_looked_at() -> None:
    """Also NaN and infinity as concreteness: neither in the value nor in the gradient nor in the report."""
    loss = InTraining(layout="text", m_max=0.2)
    clean, dirty = make_features(), make_features()
    dirty.concreteness[~dirty.negative_text_mask] = math.inf
    dirty.concreteness[0, 0] = clean.concreteness[0, 0] = math.nan
    clean.concreteness[~clean.negative_text_mask] = math.nan
    terms = [loss(f) for f in (clean, dirty)]
    assert terms[0].value.item() == terms[1].value.item()
    assert all(
        g.isfinite().all() for f, t in zip((clean, dirty), terms, strict=True) for g in gradients(t.value, f).values()
    )
    assert {name: v.item() for name, v in terms[0].report.items()} == {n: v.item() for n, v in terms[1].report.items()}
    assert terms[0].report["unrated"].item() == pytest.approx(1 / int(clean.negative_text_mask.sum()))


def test_m_max_is_set_by_the_first_training_batch_and_kept() -> None:
    loss = bound(CementLoss(layout="text", mode="static"), 3)
    assert loss.eval()(make_features(scale=50.0)).report["margin"].item() == 0
    loss.train()
    assert loss(make_features(scale=20.0)).report["m_max"].item() == pytest.approx(3 / 20)
    again = loss(make_features(scale=80.0)).report
    assert again["margin"].item() == again["m_max"].item() == pytest.approx(3 / 20)
    fresh = bound(CementLoss(layout="text", mode="static"), 3)
    fresh.load_state_dict(loss.state_dict())
    assert fresh(make_features(scale=80.0)).report["margin"].item() == pytest.approx(3 / 20)


def test_log_odds_are_the_margin_itself_in_logits() -> None:
    loss = InTraining(layout="text", mode="static", units="logit", log_odds=2.0)
    for scale in (20.0, 80.0):
        assert loss(make_features(scale=scale)).report["margin"].item() == 2.0


def test_needs_say_what_the_options_want() -> None:
    assert CementLoss().needs == {"negative_text", "negative_image", "concreteness"}
    assert CementLoss(layout="triplet", mode="none").needs == {"negative_text", "negative_image"}
    assert CementLoss(layout="text", mode="static").needs == {"negative_text"}
    assert "concreteness" in CementLoss(mode="calibrated", knots=FALLING).needs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_calibrated_margin_makes_up_for_the_slope_of_the_frozen_encoder(dtype: torch.dtype) -> None:
    """With kappa 1 the estimated similarity and the margin add up to the same at every concreteness."""
    loss = InTraining(layout="text", mode="calibrated", knots=FALLING, c_ref=0.325, m_min=0.01)
    c = torch.linspace(0, 1, 101, dtype=dtype)[:, None]
    margin = loss.margin(c, torch.ones_like(c, dtype=torch.bool), torch.tensor(20.0, dtype=dtype))
    assert margin.dtype == dtype
    expected = np.interp(c.numpy(), *zip(*FALLING, strict=True))
    np.testing.assert_allclose(margin.numpy() + expected, 0.43, atol=1e-7)
    steps = margin.squeeze(1).diff()
    assert (steps >= -1e-7).all()
    assert loss.margin.largest(torch.tensor(20.0)).item() == pytest.approx(margin.max().item())
    there = torch.arange(len(c))[:, None] % 2 == 0
    with_gaps = loss.margin(c.masked_fill(~there, math.inf), there, torch.tensor(20.0, dtype=dtype))
    assert torch.equal(with_gaps, margin * there)


def test_a_calibrated_margin_with_kappa_0_is_a_static_one() -> None:
    calibrated = InTraining(layout="text", mode="calibrated", knots=FALLING, kappa=0.0, m_min=0.2)
    features = make_features()
    expected = InTraining(layout="text", mode="static", m_max=0.2)(features).value
    assert calibrated(features).value.item() == pytest.approx(expected.item(), rel=1e-12)


def test_every_option_of_the_margin_is_a_flag_of_the_term() -> None:
    assert len(parameters(ConcretenessMargin)) == 12
    assert set(parameters(ConcretenessMargin)) < set(parameters(CementLoss))


def test_pictures_must_be_there_and_pair_with_captions() -> None:
    with pytest.raises(ConfigError, match=r"layout joint .* model\.image_negatives"):
        CementLoss()(make_features())
    with pytest.raises(ConfigError, match="3 captions and 2 pictures a sample; use layout: text"):
        CementLoss()(make_features(images="pixels"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "adaptiv"}, r"^mode: 'adaptiv' is not one of none, .*, calibrated\. Did you mean 'adaptive'\?$"),
        ({"mode": "calibrated"}, r"^knots: they belong to mode calibrated .* it is None; .*calibrate_margin\.py"),
        ({"knots": FALLING}, "^knots: they belong to mode calibrated and to it alone, and mode is adaptive"),
        ({"mode": "calibrated", "knots": FALLING, "kappa": -1.0}, r"^kappa: -1\.0 must be 0 or more"),
        ({"mode": "calibrated", "knots": FALLING, "c_ref": 1.5}, r"^c_ref: 1\.5 must be a concreteness"),
        ({"mode": "calibrated", "knots": [(0.5, 0.3)]}, "^knots: there must be 2 or more pairs .* not 1; "),
        ({"mode": "calibrated", "knots": [(0, 0.3), (4.85, 0.2)]}, r"^knots: \[4\.85, 0\.2\] must be a concreteness"),
        ({"mode": "calibrated", "knots": [(0, 0.3), (1, math.nan)]}, r"^knots: \[1, nan\] must be"),
        ({"mode": "calibrated", "knots": [(0.5, 0.3), (0.5, 0.2)]}, r"^knots: concreteness must rise .* 0\.5 to 0\.5"),
        (
            {"mode": "calibrated", "knots": [(0, 0.3), (0.5, 0.2), (1, 0.25)]},
            r"rise or only fall, .* \(-0\.1, \+0\.05\)",
        ),
        ({"layout": "jiont"}, "^layout: 'jiont' .* Did you mean 'joint'"),
        ({"placement": "easy"}, "^placement: 'easy' is not one of hard, positive, hinge"),
        ({"denominator": "dcl"}, "^denominator: 'dcl' is not one of standard, decoupled"),
        ({"scope": "others"}, "^scope: 'others' is not one of own, all"),
        ({"scope": "all", "placement": "hinge"}, "^scope: 'all' is for placement hard alone"),
        ({"hinge_weight": -1.0}, r"^hinge_weight: -1\.0"),
        ({"direction": "up"}, "^direction: 'up' is not one of increasing, decreasing"),
        ({"units": "cosines"}, "^units: 'cosines' .* Did you mean 'cosine'"),
        ({"norm": "M/4"}, "^norm: 'M/4' is not one of"),
        ({"m_max": math.nan}, "^m_max: nan must be finite"),
        ({"log_odds": math.inf}, "^log_odds: inf must be finite"),
        ({"m_min": 0.1}, r"^m_min: 0\.1 needs m_max as a number"),
        ({"m_min": 0.1, "m_max": 0.0}, r"^m_max: 0\.0 is below m_min 0\.1; .* direction: decreasing"),
        ({"gamma": 0.0}, r"^gamma: 0\.0 must be above 0"),
        ({"unrated": "zero"}, "^unrated: 'zero' must be 'mean' or a concreteness from 0 to 1"),
        ({"unrated": 1.5}, r"^unrated: 1\.5"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CementLoss(**options)
