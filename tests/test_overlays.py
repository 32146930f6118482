"""Several --config: losses and text rules are laid over each other entry by entry, the rest as a whole."""

import pytest
import yaml

from tests.conftest import ROOT, TINY

AHNPL = ("--config", ROOT / "configs/ahnpl.yaml")
RULES = ["swap_obj", "swap_att", "replace_att", "replace_obj", "replace_rel"]


@pytest.fixture
def printed(cli, capsys, tmp_path):
    """What files (given as their text) and flags come to, in this order."""

    def parse(*texts, before=AHNPL, flags=()):
        arguments = list(before)
        for number, text in enumerate(texts):
            file = tmp_path / f"{number}.yaml"
            file.write_text(text)
            arguments += ["--config", file]
        assert cli("fit", *arguments, *flags, "--print_config") == 0, capsys.readouterr().err
        return yaml.safe_load(capsys.readouterr().out)

    return parse


@pytest.fixture
def refused(refused, tmp_path):
    def parse(text):
        (tmp_path / "over.yaml").write_text(text)
        return refused("fit", *AHNPL, "--config", tmp_path / "over.yaml", "--print_config")

    return parse


def test_a_later_file_changes_one_value_of_one_loss(printed):
    alone = printed()["model"]["losses"]
    both = printed("model: {losses: {margin: {init_args: {weight: 0.4}}}}")["model"]["losses"]
    assert both["margin"]["init_args"].pop("weight") == 0.4
    assert alone["margin"]["init_args"].pop("weight") == 0.2
    assert both == alone
    assert list(both) == ["contrastive", "multimodal", "margin"]


def test_rules_keep_the_order_of_the_first_file_and_new_ones_come_behind(printed):
    over = """
    data: {negatives: {rules: {
      also: {class_path: SwapObjects},
      replace_rel: {init_args: {fallback: false}},
      swap_obj: {class_path: SwapAttributes}}}}
    """
    rules = printed(over)["data"]["negatives"]["rules"]
    assert list(rules) == [*RULES, "also"]
    assert rules["replace_rel"]["init_args"]["fallback"] is False
    assert rules["swap_obj"]["class_path"].endswith("SwapAttributes")
    assert rules["replace_att"]["init_args"]["counts"] is True


def test_an_entry_of_another_class_drops_what_that_class_does_not_have(printed):
    losses = printed("model: {losses: {margin: {class_path: CrossModalRankLoss}}}")["model"]["losses"]
    assert losses["margin"]["class_path"].endswith("CrossModalRankLoss")
    assert "positive_margin" not in losses["margin"]["init_args"]
    assert list(losses) == ["contrastive", "multimodal", "margin"]


def test_null_takes_an_entry_out(printed):
    more = "swap_obj: null, z: {class_path: SwapObjects}, a: {class_path: SwapObjects}"
    both = printed(
        f"{{model: {{losses: {{multimodal: null, margin: null}}}}, data: {{negatives: {{rules: {{{more}}}}}}}}}"
    )
    assert list(both["model"]["losses"]) == ["contrastive"]
    assert list(both["data"]["negatives"]["rules"]) == [*RULES[1:], "z", "a"]


def test_null_for_an_entry_that_is_not_there_is_refused(refused):
    said = refused("model: {losses: {mragin: null}}")
    assert "model.losses.mragin" in said
    assert "Did you mean 'margin'" in said


def test_a_mistyped_entry_is_named(refused):
    said = refused("model: {losses: {mragin: {init_args: {weight: 1}}}}")
    assert "model.losses.mragin" in said
    assert "Did you mean 'margin'" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: {losses: {margin: {init_args: {wieght: 1}}}}", ["model.losses.margin", "Did you mean 'weight'"]),
        ("model: {losses: {margin: {class_path: DynamicMarginLos}}}", ["model.losses.margin", "'DynamicMarginLoss'"]),
        ("model: {losses: [margin]}", ["model.losses", "dict"]),
        ("data: {bach_size: 3}", ["data.bach_size", "Did you mean 'data.batch_size'"]),
        ("data: {source: {class_path: Scenes, init_args: {year: 2018}}}", ["data.source", "Scenes has no 'year'"]),
    ],
)
def test_a_mistake_in_a_file_is_named(refused, text, words):
    said = refused(text)
    for word in words:
        assert word in said, said


def test_three_files_and_flags_are_laid_over_in_turn(printed):
    losses = printed(
        "model: {losses: {margin: {init_args: {weight: 0.4}}}}",
        "model: {losses: {margin: {init_args: {fixed: 3.0}}}}",
        flags=("--model.losses.contrastive.weight", 2),
    )["model"]["losses"]
    margin = losses["margin"]["init_args"]
    assert (margin["weight"], margin["fixed"], margin["positive_margin"]) == (0.4, 3.0, 0.2)
    assert losses["contrastive"]["init_args"]["weight"] == 2
    assert losses["contrastive"]["init_args"]["hard_negatives"] == "all"


def test_the_first_file_replaces_what_a_run_without_a_file_does(printed):
    rank = "model: {losses: {rank: {class_path: CrossModalRankLoss}}}"
    assert list(printed(rank, before=())["model"]["losses"]) == ["rank"]


def test_benchmarks_and_source_are_replaced_as_a_whole(printed):
    coco = (ROOT / "configs/coco.yaml").read_text()
    data = printed(coco)["data"]
    assert list(data["benchmarks"]) == ["retrieval"]
    assert data["source"]["class_path"].endswith("CocoFolder")
    assert "size" not in data["source"]["init_args"]
    assert list(data["negatives"]["rules"]) == RULES


def test_a_notebook_gets_the_same(tmp_path, cli):
    from lightning_cr.cli import build

    (tmp_path / "over.yaml").write_text("model: {losses: {margin: {init_args: {weight: 0.4}}, multimodal: null}}")
    run = build([ROOT / "configs/ahnpl.yaml", TINY, tmp_path / "over.yaml"])
    assert list(run.model.losses) == ["contrastive", "margin"]
    assert run.model.losses["margin"].weight == 0.4
