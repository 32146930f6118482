"""WordNet's words for nouns that the lexicon does not know: only with a corpus, and only words that it has."""

import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
from test_wordnet import write_wordnet

from lightning_cr.errors import ConfigError, DataError
from lightning_cr.negatives.text import ConcretePlant, ReplaceObject, ReplaceRelation, TextNegatives
from lightning_cr.negatives.text.tagging import Tagger

TAG = Tagger()
CAPTION = "A chipmunk and a rodent are near two porcupines."
CORPUS = [
    CAPTION,
    "A chipmunk is eating.",
    *["A squirrel is eating.", "A mouse is eating.", "Two mice are eating."] * 2,
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    import nltk

    monkeypatch.setattr(nltk.data, "path", list(nltk.data.path))
    return write_wordnet(tmp_path / "wn")


def door(wordnet, corpus=CORPUS, rule=ReplaceObject, **options):
    made = TextNegatives(rules={"slot": rule(**options)}, context="corpus", wordnet=wordnet)
    made.learn([TAG(text) for text in corpus])
    return made


def drawn(made, caption, draws=60):
    negatives = (made(caption, random.Random(seed))[0] for seed in range(draws))
    return {(negative.original, negative.replacement) for negative in negatives if negative}


def test_nouns_of_a_kind_stand_in_for_each_other(folder):
    # "mouse" is known to the lexicon and stands for a "computer mouse" there; here it is an animal
    made = door(folder)
    assert drawn(made, "A chipmunk is eating.") == {("chipmunk", "squirrel"), ("chipmunk", "mouse")}
    negative = made("A chipmunk is eating.", random.Random(0))[0]
    assert negative.text == f"A {negative.replacement} is eating."
    assert drawn(door("none"), "A chipmunk is eating.") == set()


def test_number_is_kept(folder):
    corpus = [*CORPUS, "Two chipmunks are eating.", "Two chipmunks are eating."]
    assert drawn(door(folder, corpus), "Two chipmunks are eating.") == {("chipmunks", "mice")}


def test_what_the_corpus_has_not_is_not_put_in(folder):
    without = [text for text in CORPUS if "squirrel" not in text]
    assert drawn(door(folder, without), "A chipmunk is eating.") == {("chipmunk", "mouse")}
    once = [*without, "A squirrel is eating."]
    assert drawn(door(folder, once), "A chipmunk is eating.") == {("chipmunk", "mouse")}


@pytest.mark.parametrize("caption", ["A chipmunk by a mouse.", "A chipmunk by two mice.", "A chipmunk by a mice."])
def test_what_the_caption_names_is_not_put_in_a_second_time(folder, caption):
    assert ("chipmunk", "mouse") not in drawn(door(folder), caption)


def test_what_holds_something_stays(folder):
    assert not any(old == "chipmunk" for old, _ in drawn(door(folder), "A chipmunk of stone."))


def test_a_concept_that_is_picked_by_its_rating_too(folder):
    assert ("chipmunk", "squirrel") in drawn(door(folder, rule=ConcretePlant), "A chipmunk is eating.")
    assert drawn(door(folder, rule=ReplaceRelation), "A chipmunk.") == set()


def test_before_a_corpus_is_learned_nothing_is_put_in(folder):
    made = TextNegatives(rules={"slot": ReplaceObject()}, context="corpus", wordnet=folder)
    assert drawn(made, "A chipmunk is eating.") == set()


def test_a_worker_draws_the_same_and_needs_no_wordnet(folder, tmp_path):
    made = door(folder)
    for file in Path(folder).iterdir():
        file.unlink()
    (tmp_path / "door.pkl").write_bytes(pickle.dumps(made))
    code = (
        "import pickle, random, sys; made = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print([made('A chipmunk is eating.', random.Random(n))[0].text for n in range(9)])"
    )
    copies = [
        subprocess.run(
            [sys.executable, "-c", code, tmp_path / "door.pkl"],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[3])},
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    here = str([made("A chipmunk is eating.", random.Random(n))[0].text for n in range(9)])
    assert copies == [here, here]


def test_without_a_corpus_it_is_refused(folder):
    with pytest.raises(ConfigError, match=r"set negatives.context to 'corpus'") as caught:
        TextNegatives(wordnet=folder)
    assert "\n" not in str(caught.value)


def test_where_it_is_missing_the_command_is_named_once_it_is_needed(tmp_path, monkeypatch):
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    for source in ("nltk", str(tmp_path)):
        with pytest.raises(DataError, match=r"run: python -m nltk.downloader wordnet") as caught:
            TextNegatives(context="corpus", wordnet=source).learn([])
        assert "\n" not in str(caught.value)


def test_the_real_one():
    if not Path("/usr/share/wordnet/data.noun").is_file():
        pytest.skip("no WordNet in /usr/share/wordnet; apt-get install wordnet-base wordnet-sense-index")
    texts = ["A wheelchair by a dock.", "A hut by a dugout.", "A dugout.", "A hut."] * 2
    made = door("/usr/share/wordnet", texts)
    assert drawn(made, "A dugout.") == {("dugout", "hut")}
