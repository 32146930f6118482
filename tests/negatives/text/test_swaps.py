"""Swaps that go by a corpus: what may change places, what may not, and that nothing else changes."""

import json
import os
import pickle
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from lightning_cr.errors import ConfigError
from lightning_cr.negatives.text import SwapAttributes, SwapNounPhrases, SwapObjects, TextNegatives
from lightning_cr.negatives.text.flows import Flow, balance_flows, weigh
from lightning_cr.negatives.text.inflection import article
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.ngrams import NGrams
from lightning_cr.negatives.text.reading import read
from lightning_cr.negatives.text.rewriting import rewrite
from lightning_cr.negatives.text.tagging import Tagger

DATA = Path(os.environ.get("LIGHTNING_CR_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
KARPATHY = DATA / "retrieval" / "coco_karpathy_test.json"
TAG = Tagger()
LEXICON = Lexicon()
RULES = {"swap_obj": SwapObjects, "swap_np": SwapNounPhrases, "swap_att": SwapAttributes}


def possible(rule, text):
    """Every edit that a learned rule would weigh, as texts."""
    rule.bind(LEXICON)
    caption = TAG(text)
    edits = rule.edits(read(caption, LEXICON), random.Random(0))
    return {negative.text for edit in edits if (negative := rule.write(caption, edit, "kind")) is not None}


@pytest.mark.parametrize(
    ("text", "wanted", "never"),
    [
        ("A man riding a horse", {"A horse riding a man"}, set()),
        ("A zorp under a blick", {"A blick under a zorp"}, set()),
        ("An elephant under a tree", {"A tree under an elephant"}, set()),
        (
            "A man in a suit and a woman in a dress",
            {"A woman in a suit and a man in a dress"},
            set(),
        ),
        ("a red cube and a blue ball", {"a red ball and a blue cube"}, set()),
        # said the same way round
        ("a cat and a dog", set(), {"a dog and a cat"}),
        ("a man in a suit in a room", set(), {"a man in a room in a suit"}),
        ("a man riding a wave on a surfboard", set(), {"a man riding a surfboard on a wave"}),
        ("a man in a kitchen with a dog", set(), {"a dog in a kitchen with a man"}),
        ("a cat on a bed and a dog", set(), {"a dog on a bed and a cat"}),
        ("a woman in a shirt and skirt playing tennis", set(), {"a woman in a skirt and shirt playing tennis"}),
        ("a bowl of soup on a table", set(), {"a soup of bowl on a table", "a bowl of table on a soup"}),
        ("a doughnut in hand", set(), {"a hand in doughnut"}),
        ("the man's hat on a chair", set(), {"the hat's man on a chair"}),
        ("a child on a boy", set(), {"a boy on a child"}),
    ],
)
def test_nouns(text, wanted, never):
    made = possible(SwapObjects(), text)
    assert wanted <= made
    assert not never & made


@pytest.mark.parametrize(
    ("text", "wanted", "never"),
    [
        ("A red cube on a blue ball", {"A blue ball on a red cube"}, set()),
        ("Two dogs on the green grass", {"The green grass on two dogs"}, set()),
        ("the two dogs are on a couch", set(), {"a couch are on the two dogs"}),
        ("a man stands next to an old bike", set(), {"an old bike stands next to a man"}),
        ("a woman in a white shirt and a skirt", set(), {"a woman in a skirt and a white shirt"}),
    ],
)
def test_noun_phrases(text, wanted, never):
    made = possible(SwapNounPhrases(), text)
    assert wanted <= made
    assert not never & made


@pytest.mark.parametrize(
    ("text", "wanted", "never"),
    [
        ("a small vase on a wooden table", {"a wooden vase on a small table"}, set()),
        ("An orange cat on a red couch", {"A red cat on an orange couch"}, set()),
        ("a zebra rug and a leopard pillow", {"a leopard rug and a zebra pillow"}, set()),
        ("two dogs and three cats", {"three dogs and two cats"}, set()),
        # of no thing, or not one word
        ("a group of people on a sandy beach", set(), {"a sandy of people on a group beach"}),
        ("a red and shiny ball on a wooden table", set(), {"a wooden and shiny ball on a red table"}),
        ("a green and tall tree next to a wooden house", set(), {"a green and wooden tree next to a tall house"}),
        ("a male tennis player returning a tennis volley", set(), {"a tennis tennis player returning a male volley"}),
        # only what the other has goes over
        ("a black cat on a chair", set(), {"a cat on a black chair"}),
        ("a red couch and a blue sofa", set(), {"a blue couch and a red sofa"}),
        ("a red cube and a red ball", set(), {"a cube and a red red ball"}),
    ],
)
def test_attributes(text, wanted, never):
    made = possible(SwapAttributes(), text)
    assert wanted <= made
    assert not never & made


def test_the_likely_place_is_preferred():
    ngrams = NGrams()
    for text in ["a man on a horse .", "a woman on a horse .", "a man on a bike ."] * 5:
        ngrams.count(text.split())
    ngrams.prune()
    seen, unseen = (ngrams.numbers(text.split()) for text in ("a woman on a bike .", "a bike on a woman ."))
    assert ngrams.likelihood(seen, 0, 6) > ngrams.likelihood(unseen, 0, 6)


def test_runs_are_all_that_a_stretch_is_part_of():
    ngrams = NGrams()
    ngrams.count(["a", "man", "on", "a", "horse"])
    one, other = (ngrams.numbers(f"a man {word} a horse".split()) for word in ("on", "horse"))
    whole = [set(ngrams.runs(words, 0, 5)) for words in (one, other)]
    part = [set(ngrams.runs(words, 2, 3)) for words in (one, other)]
    assert len(part[0]) == 6  # itself, two pairs, three triples
    assert whole[0] - whole[1] <= part[0] <= whole[0]
    assert whole[1] - whole[0] <= part[1] <= whole[1]


def _exchanges(words, other, likelihood=0.0):
    """A caption and its one edit, words and runs being numbers."""
    ngrams = NGrams()
    ngrams.count(["a", "x", "y", "b"])
    old, new = (ngrams.numbers(["a", word, "b"]) for word in (words, other))
    return ngrams.runs(old, 0, 3), [Flow(likelihood, ngrams.runs(new, 1, 2), ngrams.runs(old, 1, 2))]


def test_balance_brings_in_as_many_as_it_takes_out():
    rng = random.Random(0)
    said = [rng.choice("xxy") for _ in range(600)]
    captions, flows = zip(*(_exchanges(one, "y" if one == "x" else "x") for one in said), strict=True)
    for coverage in (0.2, 0.5):
        factors, reluctance = balance_flows(captions, flows, coverage)
        drawn = [weigh(found, factors)[0] for found in flows]
        shares = [weight / (weight + reluctance) for weight in drawn]
        assert sum(shares) / 600 == pytest.approx(coverage, abs=0.03)
        into_y = sum(s for s, one in zip(shares, said, strict=True) if one == "x")
        assert into_y / sum(shares) == pytest.approx(0.5, abs=0.1)


def test_what_cannot_be_balanced_is_left_out_while_it_can_be():
    said = ["x", "y", "z"] * 200  # x and y become each other, z becomes w, which no caption has
    ngrams = NGrams()
    ngrams.count(["a", "x", "y", "z", "w", "b"])
    captions, flows = [], []
    for one in said:
        old, new = (ngrams.numbers(["a", word, "b"]) for word in (one, dict(x="y", y="x", z="w")[one]))
        captions.append(ngrams.runs(old, 0, 3))
        flows.append([Flow(3.0 if one == "z" else 0.0, ngrams.runs(new, 1, 2), ngrams.runs(old, 1, 2))])
    factors, reluctance = balance_flows(captions, flows, 0.5)
    shares = [weigh(found, factors)[0] / (weigh(found, factors)[0] + reluctance) for found in flows]
    assert sum(shares) / 600 == pytest.approx(0.5, abs=0.03)
    assert sum(share for share, one in zip(shares, said, strict=True) if one == "z") / sum(shares) < 0.1


def test_capitals_do_not_spell_out_words():
    caption = TAG("A SUIT ON A DOG")
    negative = rewrite(caption, [(1, 2, "MAN")], "kind", "SUIT", "MAN")
    assert negative.text == "A MAN ON A DOG"
    assert article("utility") == "a"


@pytest.mark.parametrize("rule", RULES.values())
def test_coverage_is_checked_at_once(rule):
    with pytest.raises(ConfigError, match="coverage is 0; it must be above 0"):
        rule(coverage=0)


@pytest.fixture(scope="module")
def corpus():
    if not KARPATHY.is_file():
        pytest.skip(f"no captions at {KARPATHY}; set LIGHTNING_CR_TEST_DATA")
    return [TAG(text) for row in json.loads(KARPATHY.read_text())[:1000] for text in row["caption"]]


@pytest.fixture(scope="module")
def door(corpus):
    door = TextNegatives(rules={kind: rule() for kind, rule in RULES.items()})
    door.learn(corpus)
    return door


def test_real_captions(corpus, door):
    again = pickle.loads(pickle.dumps(door))
    covered = 0
    for index, caption in enumerate(corpus):
        made = door(caption, random.Random(index))
        covered += any(made)
        if index % 10 == 0:
            assert made == again(caption, random.Random(index))
        for negative in filter(None, made):
            bags = [
                Counter("a" if word == "an" else word for word in re.findall(r"\w+", text.lower()))
                for text in (caption.text, negative.text)
            ]
            assert bags[0] == bags[1], (caption.text, negative)
            assert negative.text != caption.text
            assert negative.text.startswith(caption.text[: negative.start])
            assert negative.text.endswith(caption.text[negative.end :])
    assert covered / len(corpus) >= 0.5
