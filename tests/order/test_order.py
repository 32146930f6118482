"""The shuffles of ARO's order tests: what they move, what the file says, and what its reader makes of it."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from lightning_cr.benchmarks import AroOrder
from lightning_cr.benchmarks.base import Scoring
from lightning_cr.benchmarks.blind import ShorterCaption
from lightning_cr.encoders.base import Preprocess
from lightning_cr.negatives.text.tagging import Tagger
from lightning_cr.order.shuffles import ORDERS, normalised, shuffled

TAGGER = Tagger(remember=1)
CAPTIONS = [
    "A man's red hat, on a small wooden table.",
    "Two brown dogs (wet) run after the white ball!",
    "A cat.",
]


def all_of(text, style, kind, seeds=150):
    """Whatever one of the four gives under many seeds."""
    return {shuffled(text, style, TAGGER, seed)[1][ORDERS.index(kind)] for seed in range(seeds)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("nouns_and_adjectives", {f"a {a} {m} on a {b} {n}" for a, b in (("black", "red"), ("red", "black"))
                                  for m, n in (("cat", "mat"), ("mat", "cat"))}),
        ("others", {f"{words} red mat" for words in ("a black cat on a", "on black cat a a", "a black cat a on")}),
        ("trigrams", {"a black cat on a red mat", "a black cat mat on a red", "on a red a black cat mat",
                      "on a red mat a black cat", "mat a black cat on a red", "mat on a red a black cat"}),
    ],
)  # fmt: skip
def test_each_order_moves_what_it_should_and_may_give_the_caption_back(kind, expected):
    assert all_of("A black cat on a red mat", "aro", kind) == expected
    assert all_of("A black cat on a red mat.", "clean", kind) == expected - {"a black cat on a red mat"}


def test_within_trigrams_each_three_keeps_its_words():
    for text in all_of("A black cat on its red mat", "aro", "within_trigrams"):
        words = text.split()
        assert (sorted(words[:3]), sorted(words[3:6]), words[6]) == (["a", "black", "cat"], ["its", "on", "red"], "mat")


def test_the_authors_spelling_and_the_clean_one():
    true, made = shuffled(CAPTIONS[0], "aro", TAGGER, 0)
    assert true == "a man's red hat, on a small wooden table"
    assert all(" 's" in text or text.startswith("'s") for text in made)
    assert all(len(text) > len(true) for text in made)
    true, made = shuffled(CAPTIONS[0], "clean", TAGGER, 0)
    assert true == "a man 's red hat , on a small wooden table"
    assert all(Counter(text.split()) == Counter(true.split()) != text.split() for text in made)
    assert all(text != true and len(text) == len(true) for text in made)


def test_a_caption_without_another_order_has_none():
    assert shuffled(CAPTIONS[2], "clean", TAGGER, 0) == ("a cat", [None, None, "cat a", None])
    assert shuffled("dog dog", "clean", TAGGER, 0)[1] == [None] * 4
    assert shuffled(CAPTIONS[2], "aro", TAGGER, 0)[1][0] == "a cat"


def test_thirty_words_are_kept():
    long = " ".join(f"w{number}" for number in range(40))
    assert normalised(long).split() == long.split()[:30]
    true, made = shuffled(long, "clean", TAGGER, 0)
    assert all(text is None or Counter(text.split()) == Counter(true.split()) for text in made)
    assert all(len(text.split()) == 30 for text in shuffled(long, "aro", TAGGER, 0)[1])


@pytest.fixture
def source(tmp_path):
    """Three captions of two pictures in ARO's form."""
    path = tmp_path / "test.json"
    path.write_text(
        json.dumps([{"image": "1.jpg", "caption": CAPTIONS[:2]}, {"image": "2.jpg", "caption": CAPTIONS[2:]}])
    )
    for number in (1, 2):
        (tmp_path / f"{number}.jpg").touch()
    return path


def opened(benchmark, root):
    benchmark.open(root, Preprocess(32, (0.5,) * 3, (0.5,) * 3), held_out=None)
    return benchmark


def test_the_same_seed_gives_the_same_bytes_in_any_order_of_rows(cli, source, tmp_path):
    def made(name, captions, *flags):
        assert cli("order", "--captions", captions, "--out", name, *flags) == 0
        return (tmp_path / name).read_bytes()

    first = made("a.json", source)
    assert made("b.json", source, "--seed", 0) == first
    assert made("c.json", source, "--seed", 1) != first
    turned = tmp_path / "turned.json"
    turned.write_text(json.dumps(json.loads(source.read_text())[::-1]))
    assert json.loads(made("d.json", turned))["rows"] == [json.loads(first)["rows"][at] for at in (2, 0, 1)]


def test_the_file_says_how_it_was_made_and_the_benchmark_repeats_it(cli, source, tmp_path, capsys):
    assert cli("order", "--captions", source, "--out", "sub/order.json", "--style", "clean", "--seed", 7) == 0
    said = capsys.readouterr().out
    assert "3 captions of 2 pictures, style clean, seed 7; wrote sub/order.json" in said
    assert "nouns_and_adjectives: 0 (0.0%) the caption itself, 1 (33.3%) none" in said
    about = json.loads((tmp_path / "sub/order.json").read_text())["about"]
    assert (about["seed"], about["style"], about["orders"]) == (7, "clean", list(ORDERS))
    assert about["tagger"].startswith("pattern textblob-")
    assert {"lightning_cr", "python"} == about["versions"].keys()
    benchmark = opened(AroOrder("sub/order.json"), tmp_path)
    assert (benchmark.listed, benchmark.used, benchmark.contradictory) == (3, 3, 0)
    assert [len(row.false) for row in benchmark.rows] == [4, 4, 1]
    assert benchmark.files["order.json"]["about"] == about


def test_a_bare_list_is_read_and_a_caption_without_shuffles_left_out(source, tmp_path):
    rows = [
        {"image": "1.jpg", "caption": "a b", "shuffles": [None, "b a"]},
        {"image": "2.jpg", "caption": "a", "shuffles": [None] * 4},
    ]
    (tmp_path / "order.json").write_text(json.dumps(rows))
    benchmark = opened(AroOrder("order.json"), tmp_path)
    assert (benchmark.listed, benchmark.used, benchmark.captions) == (2, 1, ["a b", "b a"])


def test_of_karpathys_file_one_split_is_taken(cli, tmp_path, capsys):
    images = [
        {"filename": f"{number}.jpg", "split": split, "sentences": [{"raw": f"A cat on mat {number}"}]}
        for number, split in enumerate(("train", "test", "restval", "test"))
    ]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": images}))
    assert cli("order", "--captions", "dataset_coco.json", "--out", "order.json") == 0
    assert [row["image"] for row in json.loads((tmp_path / "order.json").read_text())["rows"]] == ["1.jpg", "3.jpg"]


def test_what_cannot_be_done_is_said_and_an_earlier_file_stays(refused, source, tmp_path):
    assert "--out is missing; run: python -m lightning_cr order" in refused("order", "--captions", source)
    assert "--captions is missing" in refused("order", "--out", "x.json")
    (tmp_path / "text.txt").write_text("a dog on a mat\n")
    assert "text.txt has captions without a picture" in refused("order", "--captions", "text.txt", "--out", "x.json")
    (tmp_path / "folder").mkdir()
    assert "--out 'folder' cannot be written (" in refused("order", "--captions", source, "--out", "folder")
    (tmp_path / "marks.json").write_text(json.dumps([{"image": "1.jpg", "caption": ["..."]}]))
    (tmp_path / "x.json").write_text("before")
    assert "no caption has a word" in refused("order", "--captions", "marks.json", "--out", "x.json")
    assert (tmp_path / "x.json").read_text() == "before"
    assert "tagger is 'spacey'; known are" in refused("order", "--captions", source, "--out", "x", "--tagger", "spacey")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".part")) == []


def test_the_real_captions(cli, shared, tmp_path, capsys):
    """25,010 captions; marks that are taken out make more shuffles alike than the reference page counts with them."""
    captions = shared / "retrieval/coco_karpathy_test.json"
    assert cli("order", "--captions", captions, "--out", "order.json") == 0
    (tmp_path / "val2014").mkdir()
    for row in json.loads(captions.read_text()):
        os.close(os.open(tmp_path / row["image"], os.O_CREAT))
    benchmark = opened(AroOrder("order.json"), tmp_path)
    assert (benchmark.listed, benchmark.used, len(benchmark.pictures)) == (25010, 25010, 5000)
    about = benchmark.files["order.json"]["about"]
    share = {kind: 100 * count / 25010 for kind, count in about["identical"].items()}
    assert share["trigrams"] == pytest.approx(8.2, abs=0.4)
    assert share["within_trigrams"] == pytest.approx(0.5, abs=0.15)
    assert 5 < share["nouns_and_adjectives"] < 20
    alike = benchmark.contradictory
    assert alike <= sum(about["identical"].values())
    assert f"any of them is the caption itself: {alike:,} ({100 * alike / 25010:.1f}%)" in capsys.readouterr().out
    assert opened(AroOrder("order.json", drop_identical=True), tmp_path).used == 25010 - alike
    # Spelling alone: all four shuffles are longer, since the authors put spaces before marks.
    blind = benchmark.score(benchmark.judge(ShorterCaption(benchmark.captions)), Scoring(benchmark.blind, 0))
    assert blind["aro/coco_order"].value == pytest.approx(0.061, abs=0.005)
    lines = Path("order.json").read_text().splitlines()
    assert len(lines) == 25010 + 3
