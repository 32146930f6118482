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
from lightning_cr.negatives.text.lengths import Addition, LengthBalance
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.ngrams import NGrams
from lightning_cr.negatives.text.reading import read
from lightning_cr.negatives.text.tagging import Tagger

DATA = Path(os.environ.get("LIGHTNING_CR_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
KARPATHY = DATA / "retrieval" / "coco_karpathy_test.json"
TAG = Tagger()
CORPUS = [
    *["A black cat on a bed.", "A gray cat on a chair.", "A cat on a sofa."] * 4,
    *[f"A {colour} cat." for colour in ("orange", "brown", "yellow", "blue") for _ in range(5)],
    *["A young man.", "A young man on a street.", "A young man in a house.", "An old man."] * 4,
    *["A cat sleeping on a chair.", "A cat running in a house.", "A cat sitting on a sofa."] * 5,
    *["A cat standing on a bed.", "A cat walking on a bed.", "A cat jumping on a bed."] * 5,
    *["A cat and a dog on a bed.", "A cat with an apple on a chair."] * 6,
    *["A cat near an orange umbrella.", "A white dog.", "A cat.", "The green grass."] * 4,
    *["A dog on a street.", "A cat in a house."] * 150,
]


def all_of(rule, text, learned=True, draws=200, corpus=CORPUS):
    door = TextNegatives(rules={"add": rule})
    if learned:
        rule.coverage = 1.0
        door.learn([TAG(one) for one in corpus])
        rule._balance.reluctance = 0.0  # so that something is drawn every time
    made = [door(text, random.Random(seed))[0] for seed in range(draws)]
    return [negative for negative in made if negative is not None]


def texts(negatives):
    return {negative.text for negative in negatives}


def test_an_attribute_that_the_corpus_has_there():
    made = all_of(AddAttribute(), "A cat on a bed", draws=3000)
    assert {"A black cat on a bed", "A gray cat on a bed"} <= texts(made)
    for negative in made:
        assert negative.original == ""
        if negative.replacement in ("black", "gray"):
            assert (negative.start, negative.end) == (2, 2)


def test_a_state_behind_a_thing():
    assert "A cat sleeping on a bed" in texts(all_of(AddAttribute(), "A cat on a bed"))
    for text in ("A cat is on a bed", "A cat playing on a bed"):
        assert not any("sleeping" in negative.replacement for negative in all_of(AddAttribute(), text))


def test_what_is_said_more_often_than_not_may_be_true_unsaid():
    made = texts(all_of(AddAttribute(), "A man on a bed"))
    assert not any("young" in text or "old" in text for text in made)


@pytest.mark.parametrize(
    "text",
    [
        "A white cat sits on a bed",  # it has a colour, and does something
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
    made = all_of(AddObject(), "A cat in a house")
    assert "A cat and a dog in a house" in texts(made)
    for negative in made:
        assert negative.original == ""
        assert negative.start == negative.end
        assert "a apple" not in negative.text


def test_objects_that_are_never_added():
    for text in ("A cat on a dog", "A kitten and a puppy"):
        assert not any("dog" in negative.replacement for negative in all_of(AddObject(), text))
    assert not any(" and " in text for text in texts(all_of(AddObject(), "A cat is on a bed")) if "cat and" in text)
    assert not any("chair" in negative.replacement for negative in all_of(AddObject(), "A chair"))


def test_what_joins_things_is_learned():
    made = all_of(AddObject(), "A dog on a street", corpus=[*CORPUS * 2, *["A dog sitting next to an owl."] * 6])
    assert "A dog sitting next to an owl on a street" in texts(made)


def test_a_place_that_goes_with_a_thing_is_not_added():
    corpus = [*CORPUS, *["A dog on a beach.", "A cow in a park."] * 5, "A cat on a beach.", "A cat in a park."]
    corpus += ["A cat on a mat."] * 200
    made = texts(all_of(AddObject(), "A cow near a cat", corpus=corpus))
    assert not any("in a park" in text for text in made)


def test_balance_adds_to_captions_that_lack_what_comes():
    """Half the captions have a colour; adding one must leave as many colours as captions so long have."""
    captions = [["a", "red", "cat"], ["a", "small", "cat"]] * 300 + [["a", "red", "old", "cat"]] * 300
    captions += [["a", "small", "old", "cat"]] * 300
    ngrams = NGrams()
    for words in captions:
        ngrams.count(words)
    found = [[Addition(2, "red"), Addition(2, "old")] if len(words) == 3 else [] for words in captions]
    balance = LengthBalance.learn(ngrams, captions, found, 0.2)
    red = total = 0.0
    for words, additions in zip(captions, found, strict=True):
        weights = balance.weights(words, additions)
        for addition, weight in zip(additions, weights, strict=True):
            share = weight / (sum(weights) + balance.reluctance)
            total += share
            red += share * (addition.words == "red" or "red" in words)
    assert total / len(captions) == pytest.approx(0.2, abs=0.02)
    assert red / total == pytest.approx(0.5, abs=0.05)


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
                    # "SUV" is spelled out, but not "HAT" where all is in capitals
                    word = other.lower() if negative.text.isupper() else other
                    assert one.lower() == article(word), (text, negative)
    assert min(counts["add_obj"], counts["add_att"]) > (0.14 if learned else 0.3) * len(corpus)
