"""ARO's four word orders."""

import json
import os
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from lightning_cr.errors import ConfigError
from lightning_cr.negatives.text import ShuffleWords
from lightning_cr.negatives.text.tagging import Tagger

DATA = Path(os.environ.get("LIGHTNING_CR_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
KARPATHY = DATA / "retrieval" / "coco_karpathy_test.json"
TAG = Tagger()
MODES = ("nouns_and_adjectives", "others", "trigrams", "within_trigrams")


def all_of(mode, text, draws=200):
    made = [ShuffleWords(mode=mode)(TAG(text), "kind", random.Random(seed)) for seed in range(draws)]
    return {negative.text for negative in made if negative is not None}


@pytest.mark.parametrize(
    ("mode", "text", "expected"),
    [
        ("nouns_and_adjectives", "A cat on the mat", {"A mat on the cat"}),
        (
            "nouns_and_adjectives",
            "a black cat on a red mat",
            {"a red cat on a black mat", "a black mat on a red cat", "a red mat on a black cat"},
        ),
        ("nouns_and_adjectives", "a cat", set()),
        ("others", "A cat on the mat", {"A cat the on mat", "On cat a the mat", "On cat the a mat", "The cat an on mat",
                                        "The cat on a mat"}),
        ("trigrams", "A cat sits on my mat", {"On my mat a cat sits"}),
        ("trigrams", "a cat sits", set()),
        ("within_trigrams", "Cat on mat", {"Cat mat on", "On cat mat", "On mat cat", "Mat cat on", "Mat on cat"}),
        ("within_trigrams", "dog dog dog", set()),
    ],
)  # fmt: skip
def test_orders(mode, text, expected):
    assert all_of(mode, text) == expected


def test_unknown_mode_is_named_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"'trigram'; known are .*Did you mean 'trigrams'\?"):
        ShuffleWords(mode="trigram")


@pytest.mark.skipif(not KARPATHY.is_file(), reason=f"no captions at {KARPATHY}; set LIGHTNING_CR_TEST_DATA")
@pytest.mark.parametrize("mode", MODES)
def test_real_captions(mode):
    texts = [row["caption"][0] for row in json.loads(KARPATHY.read_text())[:800]]
    made = 0
    for index, text in enumerate(texts):
        caption = TAG(text)
        negative = ShuffleWords(mode=mode)(caption, "shuffle", random.Random(index))
        assert negative == ShuffleWords(mode=mode)(caption, "shuffle", random.Random(index))
        if negative is None:
            continue
        made += 1
        bags = [
            Counter("a" if word == "an" else word for word in re.findall(r"\w+", t.lower()))
            for t in (text, negative.text)
        ]
        assert bags[0] == bags[1], (text, negative)
        assert negative.text.lower() != text.lower()
        assert negative.text.startswith(text[: negative.start])
        assert negative.text.endswith(text[negative.end :])
    assert made / len(texts) > 0.9
