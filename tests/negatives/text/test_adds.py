"""Additions: what goes in, where, and what is never added."""

import json
import os
import pickle
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from lightning_cr.negatives.text import AddAttribute, AddObject, TextNegatives
from lightning_cr.negatives.text.inflection import article
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.reading import read
from lightning_cr.negatives.text.tagging import Tagger

DATA = Path(os.environ.get("LIGHTNING_CR_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
KARPATHY = DATA / "retrieval" / "coco_karpathy_test.json"
TAG = Tagger()
CORPUS = [
    *["A black cat on a bed.", "A gray cat on a chair.", "A cat on a sofa."] * 4,
    *["A cat and a dog on a bed.", "A cat with an apple on a chair."] * 4,
    *["A cat near an orange umbrella.", "A white dog.", "A cat.", "The green grass."] * 4,
    *["A dog on a street.", "A cat in a house."] * 150,
]


def all_of(rule, text, learned=True, draws=200):
    door = TextNegatives(rules={"add": rule})
    if learned:
        rule.coverage = 1.0
        door.learn([TAG(one) for one in CORPUS])
        rule._reluctance = 0.0  # so that something is drawn every time
    made = [door(text, random.Random(seed))[0] for seed in range(draws)]
    return [negative for negative in made if negative is not None]


def texts(negatives):
    return {negative.text for negative in negatives}


def test_an_attribute_that_the_corpus_has_there():
    made = all_of(AddAttribute(), "A cat on a bed")
    assert {"A black cat on a bed", "A gray cat on a bed"} == texts(made)
    for negative in made:
        assert (negative.original, negative.start, negative.end) == ("", 2, 2)
        assert negative.replacement in ("black", "gray")


@pytest.mark.parametrize(
    "text",
    [
        "A white cat on a bed",  # it has a colour
        "The grass",  # green goes without saying
        "A zorp",  # nothing is known of it
    ],
)
def test_attributes_that_are_never_added(text):
    assert all_of(AddAttribute(), text) == []


def test_without_a_corpus_any_quality_that_fits():
    made = texts(all_of(AddAttribute(), "an elephant", learned=False))
    assert {"a brown elephant", "an old elephant"} <= made
    assert not any(" large " in text or " three " in text for text in made)


def test_the_article_is_in_the_span_where_it_changes():
    rule = AddAttribute()
    caption = TAG("An elephant")
    edits = list(rule.edits(read(caption, Lexicon()), random.Random(3)))
    negatives = [rule.write(caption, edit, "add") for edit in edits]
    for negative in negatives:
        article_stays = negative.text.startswith("An ")
        assert (negative.start, negative.end) == ((3, 3) if article_stays else (0, 2))
        assert negative.text.endswith(caption.text[negative.end :])


def test_an_object_that_the_corpus_has_there():
    made = all_of(AddObject(), "A cat on a chair")
    assert "A cat and a dog on a chair" in texts(made)
    for negative in made:
        assert negative.original == ""
        assert negative.start == negative.end
        assert "a apple" not in negative.text


def test_objects_that_are_never_added():
    for text in ("A cat on a dog", "A kitten and a puppy"):
        assert not any("dog" in negative.replacement for negative in all_of(AddObject(), text))
    assert not any(" and " in text for text in texts(all_of(AddObject(), "A cat is on a bed")) if "cat and" in text)
    assert not any("chair" in negative.replacement for negative in all_of(AddObject(), "A chair"))


@pytest.fixture(scope="module")
def corpus():
    if not KARPATHY.is_file():
        pytest.skip(f"no captions at {KARPATHY}; set LIGHTNING_CR_TEST_DATA")
    return [TAG(text) for row in json.loads(KARPATHY.read_text())[:400] for text in row["caption"]]


@pytest.mark.parametrize("learned", [False, True])
def test_real_captions(corpus, learned):
    door = TextNegatives(rules={"add_obj": AddObject(), "add_att": AddAttribute()})
    if learned:
        door.learn(corpus)
    again = pickle.loads(pickle.dumps(door))
    counts = Counter()
    for index, caption in enumerate(corpus):
        made = door(caption, random.Random(index))
        assert made == again(caption, random.Random(index))
        for negative in filter(None, made):
            counts[negative.kind] += 1
            text = caption.text
            assert negative.original == ""
            assert negative.text.startswith(text[: negative.start])
            assert negative.text.endswith(text[negative.end :])
            assert negative.end - negative.start == 0 or negative.text[negative.start] != " "
            before = Counter(pairwise(text.lower().split()))
            words = negative.text.split()
            for one, other in pairwise(words):
                if one.lower() in ("a", "an") and (one.lower(), other.lower()) not in before:
                    assert one.lower() == article(other), (text, negative)
    assert min(counts["add_obj"], counts["add_att"]) > 0.2 * len(corpus)
