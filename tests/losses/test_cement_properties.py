"""The properties of Slipform's specification, section (d), by its numbers: 1 to 12, limits and gradient.

13 to 22 are in ``test_cement_structure.py``. 23, the data side, is in tests/negatives/text: ``test_concrete_plant.py``
(the chosen word has the highest rated concreteness, exactly one concept changes) and ``test_concreteness.py`` (39,954
rows and the published examples).
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from chosen_cosines import ALPHAS, SWEEP, cosines, log_odds, made_of, pull, share, term
from loss_features import gradients, make_features

from lightning_cr.losses import ContrastiveLoss

# ---- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "none"},
        {"mode": "static", "m_max": 0.0},
        {"mode": "adaptive", "m_max": 0.0},
        {"mode": "static", "m_max": 0.0, "placement": "positive"},
        {"mode": "none", "placement": "hinge"},
        {"mode": "static", "m_max": 0.0, "scope": "all"},
    ],
)
def test_01_no_margin_is_infonce_with_hard_negatives(options: dict[str, Any]) -> None:
    """Placement hinge is the exception for a margin of 0: then it is a hinge at 0, and mode none turns it off."""
    found, expected = make_features(), make_features()
    value, wanted = term(**options)(found).value, ContrastiveLoss(hard_negatives="all")(expected).value
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(gradients(value, found), gradients(wanted, expected))


@pytest.mark.parametrize("layout", ["text", "joint", "triplet"])
@pytest.mark.parametrize("placement", ["hard", "positive", "hinge"])
def test_02_without_hard_negatives_it_is_clip(layout: str, placement: str) -> None:
    found, expected = make_features(images="paired"), make_features(images="paired")
    for name in ("negative_text_mask", "negative_image_mask"):
        setattr(found, name, torch.zeros_like(getattr(found, name)))
    value = term(layout=layout, placement=placement, m_max=0.3)(found).value
    wanted = ContrastiveLoss()(expected).value
    torch.testing.assert_close(value, wanted)
    gradient = gradients(value, found)
    torch.testing.assert_close(gradient, gradients(wanted, expected))
    assert (gradient["negative_text"] == 0).all()
    assert (gradient["negative_image"] == 0).all()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_03_a_margin_without_end(alpha: float) -> None:
    table = cosines(63)
    gone = pull(term(m_min=-1e6, m_max=-1e6), made_of(*table, alpha))
    absent = made_of(*table, alpha)
    absent.all.negative_text_mask[0] = absent.negative_text_mask[0] = False
    without = pull(term(m_min=-1e6, m_max=-1e6), absent)
    torch.testing.assert_close(gone.captions[0], without.captions[0])
    assert gone.hard[0, 0].abs().max() == 0
    positive, hard, easy = pull(term(m_max=1e6), made_of(*table, alpha)).own
    torch.testing.assert_close(positive, torch.full_like(positive, -alpha))
    torch.testing.assert_close(hard, torch.full_like(hard, alpha))
    assert easy.abs().max() == 0


@pytest.mark.parametrize("layout", ["text", "joint"])
@pytest.mark.parametrize("direction", ["increasing", "decreasing"])
def test_04_adaptive_of_equal_concreteness_is_static(layout: str, direction: str) -> None:
    features, other = make_features(images="paired"), make_features(images="paired")
    features.concreteness.fill_(0.3)
    adaptive = term(layout=layout, mode="adaptive", m_min=0.02, m_max=0.12, gamma=2.0, direction=direction)
    c = 0.3 if direction == "increasing" else 0.7
    static = term(layout=layout, m_max=0.02 + 0.1 * c**2)
    values = adaptive(features).value, static(other).value
    torch.testing.assert_close(*values)
    torch.testing.assert_close(gradients(values[0], features), gradients(values[1], other))


@pytest.mark.parametrize("placement", ["hard", "positive", "hinge"])
def test_05_evaluation_ignores_margins(placement: str) -> None:
    features = make_features(images="paired")
    with_margin = term(layout="joint", placement=placement, mode="adaptive", m_max=0.3)
    without = term(layout="joint", mode="none")
    assert with_margin(features).value.item() > without(features).value.item() + 1e-3 > 1e-3
    assert with_margin.eval()(features).value.item() == without(features).value.item()


# ---- gradient --------------------------------------------------------------------------------------------------------


@SWEEP
def test_06_the_gradient_is_the_softmax(alpha: float, easy: int) -> None:
    """Analytic = autograd = finite difference."""
    captions, hard = cosines(easy, slots=2)
    c = torch.tensor([[0.1, 0.9], [0.5, 0.0], [1.0, 0.4]], dtype=torch.float64)
    loss = term(mode="adaptive", m_max=0.04)
    found = pull(loss, made_of(captions, hard, alpha, c))
    shifted = hard.clone()
    own = torch.arange(3)
    shifted[own, own] += 0.04 * c
    everything = torch.cat([captions, shifted.flatten(1)], dim=1)
    wanted = alpha * torch.softmax(alpha * everything, dim=1)
    wanted[own, own] -= alpha
    torch.testing.assert_close(torch.cat([found.captions, found.hard.flatten(1)], dim=1), wanted)
    step = 1e-6
    for part, where, gradient in ((0, (0, 0), found.captions), (0, (1, 5), found.captions), (1, (2, 2, 1), found.hard)):
        values = []
        for sign in (1, -1):
            moved = [captions.clone(), hard.clone()]
            moved[part][where] += sign * step
            # The captions' own rows are held still: they are local rows, made of the unmoved cosines.
            features = made_of(*moved, alpha, c)
            features.text = made_of(captions, hard, alpha, c).text
            values.append(loss(features).value.item())
        slope = 2 * 3 * (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx(gradient[where].item(), rel=1e-4, abs=1e-4)


@SWEEP
@pytest.mark.parametrize("m", [-0.05, 0.0, 0.03, 0.3])
def test_07_a_row_sums_to_zero_and_the_positive_is_hard_plus_easy(alpha: float, easy: int, m: float) -> None:
    """In autograd, and in what is reported, which is per logit."""
    for options in ({}, {"placement": "positive"}, {"placement": "hinge"}, {"denominator": "decoupled"}):
        loss = term(m_min=m, m_max=m, **options)
        features = made_of(*cosines(easy), alpha)
        found = pull(loss, features)
        torch.testing.assert_close(found.captions.sum(1) + found.hard.sum((1, 2)), torch.zeros(3, dtype=torch.float64))
        positive, hard, easy_sum = found.own
        torch.testing.assert_close(-positive, hard + easy_sum)
        report = loss(features).report
        for name, wanted in (("positive", -positive), ("hard", hard), ("easy", easy_sum)):
            torch.testing.assert_close(report[f"gradient/{name}"], wanted.mean() / alpha)
        torch.testing.assert_close(report["hard_share"], share(found).mean())


@SWEEP
@pytest.mark.parametrize("m", [-0.02, 0.01, 0.06])
def test_08_the_log_odds_of_the_hard_share_rise_by_alpha_m(alpha: float, easy: int, m: float) -> None:
    for options in ({}, {"denominator": "decoupled"}):
        before = share(pull(term(**options), made_of(*cosines(easy), alpha)))
        after = share(pull(term(m_min=m, m_max=m, **options), made_of(*cosines(easy), alpha)))
        torch.testing.assert_close(log_odds(after) - log_odds(before), torch.full_like(after, alpha * m))
        in_logits = share(pull(term(m_min=m * 9, m_max=m * 9, units="logit"), made_of(*cosines(easy), alpha)))
        torch.testing.assert_close(log_odds(in_logits) - log_odds(before), torch.full_like(after, 9 * m))


def test_08_log_odds_sets_the_shift_at_concreteness_1() -> None:
    for units in ("cosine", "logit"):
        table = cosines(63)
        before = share(pull(term(), made_of(*table, 20.0)))
        after = share(pull(term(mode="adaptive", m_max=None, log_odds=3.0, units=units), made_of(*table, 20.0)))
        torch.testing.assert_close(log_odds(after) - log_odds(before), torch.full_like(after, 3.0))


@SWEEP
def test_09_it_is_the_reweighting_of_the_hard_negative(alpha: float, easy: int) -> None:
    captions, hard = cosines(easy)
    m = 0.03
    found = pull(term(m_max=m), made_of(captions, hard, alpha)).value
    without = pull(term(), made_of(captions, hard, alpha)).value
    own = torch.arange(3)
    weights = torch.ones_like(hard)
    weights[own, own] = math.exp(alpha * m)
    weighed = (alpha * captions).exp().sum(1) + (weights * (alpha * hard).exp()).sum((1, 2))
    plain = (alpha * captions).exp().sum(1) + (alpha * hard).exp().sum((1, 2))
    assert found - without == pytest.approx((weighed / plain).log().mean().item(), abs=1e-9)


@SWEEP
def test_10_a_margin_on_the_positive_cannot_rebalance(alpha: float, easy: int) -> None:
    captions, hard = cosines(easy)
    m = 0.04
    plain = pull(term(), made_of(captions, hard, alpha))
    found = pull(term(m_max=m, placement="positive"), made_of(captions, hard, alpha))
    torch.testing.assert_close(share(found), share(plain))
    assert (found.own[1] > plain.own[1]).all()  # but it reweighs the anchor
    # It equals the margin on every negative.
    own = torch.arange(3)
    everywhere = captions + m
    everywhere[own, own] -= m
    on_all = pull(term(), made_of(everywhere, hard + m, alpha))
    torch.testing.assert_close(found.captions, on_all.captions)
    torch.testing.assert_close(found.hard, on_all.hard)


@SWEEP
def test_11_where_the_hard_gain_is_taken_from(alpha: float, easy: int) -> None:
    m, step = 0.03, 1e-6
    for denominator in ("standard", "decoupled"):
        at = {}
        for x in (-step, 0.0, step):
            found = pull(term(m_min=m + x, m_max=m + x, denominator=denominator), made_of(*cosines(easy), alpha))
            _, hard, rest = (part / alpha for part in found.own)
            at[x] = torch.stack([hard, rest, 1 - hard - rest])  # P_h, P_E, p+
        gained, given, of_positive = (at[step] - at[-step]) / (2 * step)
        p_hard, p_easy, p_positive = at[0.0]
        tolerance = {"rtol": 1e-5, "atol": 1e-7}
        torch.testing.assert_close(gained + given + of_positive, torch.zeros_like(gained), **tolerance)
        torch.testing.assert_close(gained, alpha * p_hard * (1 - p_hard), **tolerance)
        torch.testing.assert_close(given, -alpha * p_hard * p_easy, **tolerance)
        torch.testing.assert_close(-given, gained * p_easy / (p_easy + p_positive), **tolerance)
        one_for_one = torch.allclose(gained, -given, **tolerance)
        assert one_for_one == (denominator == "decoupled")


@SWEEP
def test_12_the_loss_is_convex_in_the_margin(alpha: float, easy: int) -> None:
    margins = torch.arange(-0.06, 0.3, 0.02, dtype=torch.float64).tolist()
    table = cosines(easy)
    values = [pull(term(m_min=m, m_max=m), made_of(*table, alpha)).value for m in margins]
    assert (torch.tensor(values, dtype=torch.float64).diff().diff() > -1e-12).all()
    base = pull(term(), made_of(*table, alpha)).value
    for m, value in zip(margins, values, strict=True):
        if m >= 0:
            assert -1e-12 <= value - base <= alpha * m + 1e-12
    for m in (-0.02, 0.0, 0.03):
        near = [pull(term(m_min=m + x, m_max=m + x), made_of(*table, alpha)) for x in (-1e-6, 0.0, 1e-6)]
        slope = (near[2].value - near[0].value) / 2e-6
        assert slope == pytest.approx(near[1].own[1].mean().item(), rel=1e-5)
