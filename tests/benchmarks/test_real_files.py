"""Each reader on the real annotation files, row for row, and the averages of the reference page."""

import json

import pytest
import torch
from annotation_files import DATA, REAL, Table, opened

from lightning_cr.benchmarks import (
    CaptionRetrieval,
    SugarCrepe,
    SugarCrepePP,
    Valse,
)
from lightning_cr.benchmarks.averages import Tally
from lightning_cr.benchmarks.base import Scoring
from lightning_cr.benchmarks.blind import ShorterCaption
from lightning_cr.benchmarks.suite import Suite
from lightning_cr.errors import ConfigError


@REAL
def test_counts_of_the_real_files(tree):
    benchmarks = {
        "sugarcrepe": SugarCrepe(str(DATA / "sugarcrepe")),
        "sugarcrepe++": SugarCrepePP(str(DATA / "sugarcrepe_pp")),
        "valse": Valse(str(DATA / "valse")),
        "coco": CaptionRetrieval(str(DATA / "retrieval/coco_karpathy_test.json")),
    }
    for benchmark in benchmarks.values():
        opened(benchmark, tree)
    counts = {name: (b.listed, b.used, b.duplicates) for name, b in benchmarks.items()}
    assert counts == {
        "sugarcrepe": (7511, 7511, 0),
        "sugarcrepe++": (4757, 4757, 1),
        "valse": (8782, 7702, 0),
        "coco": (25010, 25010, 0),
    }
    assert [len(b.pictures) for b in benchmarks.values()][:2] == [1560, 1542]
    assert len(benchmarks["sugarcrepe"].captions) == 11844
    assert len(benchmarks["sugarcrepe++"].captions) == 13189
    both = Suite({name: benchmarks[name] for name in ("sugarcrepe", "sugarcrepe++")})
    assert (len(both.pictures), len(both.captions)) == (1560, 18372)
    assert len(Suite(benchmarks).pictures) == 11819


@REAL
def test_pieces_of_valse(tree):
    """Rows, valid rows and distinct pictures of these, as the reference page counts them."""
    rows = {
        "existence": (534, 505, 505),
        "plurals": (1000, 851, 803),
        "counting-hard": (1000, 868, 868),
        "counting-small-quant": (1000, 900, 900),
        "counting-adversarial": (756, 691, 691),
        "relations": (614, 535, 486),
        "action-replacement": (779, 648, 648),
        "actant-swap": (1042, 949, 949),
        "coreference-standard": (916, 708, 708),
        "coreference-hard": (141, 104, 104),
        "foil-it": (1000, 943, 936),
    }
    benchmark = opened(Valse(str(DATA / "valse")), tree)
    listed = {piece: len(json.loads((DATA / f"valse/{piece}.json").read_text())) for piece in rows}
    used = {piece: [r for r in benchmark.rows if r.example.subset == f"valse/{piece}"] for piece in rows}
    found = {piece: (listed[piece], len(used[piece]), len({r.example.images for r in used[piece]})) for piece in rows}
    assert found == rows
    assert benchmark.contradictory == 0, "rows whose foil is the caption are not valid ones"


@REAL
def test_rows_that_no_model_gets_right_are_counted(tree):
    benchmark = opened(SugarCrepePP(str(DATA / "sugarcrepe_pp")), tree)
    alike = [r.example for r in benchmark.rows if set(r.true) & set(r.false)]
    assert [(example.subset, example.id) for example in alike] == [("swap_obj", "2"), ("swap_obj", "8")]
    assert benchmark.contradictory == 2
    assert opened(SugarCrepe(str(DATA / "sugarcrepe")), tree).contradictory == 0


@REAL
def test_the_shorter_caption_solves_what_is_added(tree):
    benchmark = opened(SugarCrepe(str(DATA / "sugarcrepe")), tree)
    judged = benchmark.judge(ShorterCaption(benchmark.captions))
    scores = {name: 100 * s.value for name, s in benchmark.score(judged, Scoring("half", 0)).items()}
    assert scores["sugarcrepe/add_att"] == pytest.approx(99.6, abs=0.05)
    assert scores["sugarcrepe/add_obj"] == pytest.approx(99.0, abs=0.05)
    assert scores["sugarcrepe/replace_rel"] == pytest.approx(64.2, abs=0.05)
    assert scores["sugarcrepe/replace_att"] == pytest.approx(53.4, abs=0.05)


@REAL
def test_two_rows_of_sugarcrepe_pp_cannot_be_right(tree):
    benchmark = opened(SugarCrepePP(str(DATA / "sugarcrepe_pp")), tree)
    false = torch.tensor([row.false[0] for row in benchmark.rows])
    values = torch.ones(len(benchmark.pictures), len(benchmark.captions))
    texts = torch.ones(len(benchmark.captions), len(benchmark.captions))
    always = set(false.tolist())
    values[:, list(always)] = texts[list(always)] = texts[:, list(always)] = 0.0
    # Captions that are false in one row and true in another spoil rows here, so only swap_obj's two are looked at.
    scores = benchmark.score(benchmark.judge(Table(values, texts)))
    judged = benchmark.judge(Table(values, texts))
    place = {
        f"{judged.subsets[s]}:{i}": m for s, i, m in zip(judged.subset.tolist(), judged.ids, judged.margin, strict=True)
    }
    assert place["sugarcrepe++/itt swap_obj:2"] <= 0
    assert place["sugarcrepe++/itt swap_obj:8"] <= 0
    assert scores["sugarcrepe++/itt swap_obj"].value <= 243 / 245


def averaged(benchmark, figures, sizes=None):
    """What a benchmark's averages make of accuracies in %."""
    names = list(figures)
    count = torch.tensor([[float(sizes[name]) if sizes else 1000.0 for name in names]], dtype=torch.float64)
    right = torch.tensor([list(figures.values())], dtype=torch.float64) / 100 * count
    tally = Tally(right.T, count.T, torch.zeros(len(names), dtype=torch.long))
    place = {name: at for at, name in enumerate(names)}
    return {name: round(100 * value, 1) for name, (value, *_) in tally.values(benchmark.averages, place).items()}


def test_the_averages_of_the_reference_page_for_sugarcrepe():
    """CLIP ViT-B/32: the same seven numbers give four averages."""
    kinds = ("replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att", "add_obj", "add_att")
    figures = dict(zip(kinds, (90.92, 80.08, 69.20, 61.22, 63.96, 77.21, 68.79), strict=True))
    sizes = dict(zip(kinds, (1652, 788, 1406, 245, 666, 2062, 692), strict=True))
    prefixed = [{f"sugarcrepe/{name}": value for name, value in table.items()} for table in (figures, sizes)]
    assert averaged(SugarCrepe("x"), *prefixed) == {
        "sugarcrepe/micro": 76.6,
        "sugarcrepe/mean of 7": 73.1,
        "sugarcrepe/mean of 3, pooled": 73.0,
        "sugarcrepe/mean of 3, means": 71.9,
    }


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ((69.3, 57.6, 64.5, 61.9, 58.2, 66.0, 77.8, 71.8, 54.9, 51.9, 90.1), (65.8, 67.5, 67.4)),
        ((78.4, 77.9, 68.7, 71.8, 60.9, 73.8, 81.2, 87.6, 59.9, 62.5, 94.3), (74.3, 76.7, 76.0)),
    ],
    ids=["CLIP", "CE-CLIP"],
)
def test_the_averages_of_the_reference_page_for_valse(figures, expected):
    from lightning_cr.benchmarks.valse import PIECES

    sizes = (505, 851, 868, 900, 691, 535, 648, 949, 708, 104, 943)
    named = [dict(zip((f"valse/{p}" for p in PIECES), values, strict=True)) for values in (figures, sizes)]
    found = averaged(Valse("x"), *named)
    assert (found["valse/mean of 11"], found["valse/mean of 7"]) == expected[:2]
    assert found["valse/micro"] == pytest.approx(expected[2], abs=0.1)  # of figures that are rounded


@REAL
def test_a_few_rows_of_each_part_for_a_look(tree):
    benchmark = opened(SugarCrepe(str(DATA / "sugarcrepe"), per_subset=20), tree)
    assert (benchmark.listed, benchmark.used) == (7511, 140)
    assert [row.example.id for row in benchmark.rows[:20]] == [str(n) for n in range(20)]
    with pytest.raises(ConfigError, match=r"per_subset of SugarCrepe is -1; it must be 0 \(all\) or more"):
        SugarCrepe("", per_subset=-1)
