"""The rule that draws from filled captions, and the files that it reads; no language model is needed for either."""

import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_cr.errors import ConfigError, DataError
from lightning_cr.negatives.text import MaskedFill, ReplaceObject, TextNegatives
from lightning_cr.negatives.text.filling import Filling
from lightning_cr.negatives.text.fills import Fill, Fills, read_about, write_fills
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.tagging import Tagger

TAG = Tagger()
CAPTION = "An old man rides a horse on a beach."
FILLS = {
    CAPTION: [
        Fill("object", 7, 10, ("woman", "umbrella")),
        Fill("object", 19, 24, ("elephant", "wave", "bike")),
        Fill("relation", 25, 27, ("under",)),
    ],
    "Nothing to fill.": [],
    "A dog on a sofa.": [Fill("object", 2, 5, ("cat", "umbrella"))],
}


@pytest.fixture
def folder(tmp_path):
    texts = list(FILLS)
    write_fills(tmp_path / "filled" / "a.arrow", texts[:2], [FILLS[text] for text in texts[:2]], {"top_k": 5})
    write_fills(tmp_path / "filled" / "b.arrow", texts[1:], [FILLS[text] for text in texts[1:]], {"top_k": 5})
    return str(tmp_path / "filled")


def door(folder, role="object", **options):
    return TextNegatives(rules={"slot": MaskedFill(source=folder, role=role, **options)})


def drawn(made, caption, draws=100):
    negatives = [made(caption, random.Random(seed))[0] for seed in range(draws)]
    return {negative.text for negative in negatives if negative}


# The files


def test_what_is_written_is_read(folder):
    fills = Fills(folder)
    assert {text: fills.of(text) for text in FILLS} == FILLS
    assert len(fills) == 3  # one of them was in both files
    assert fills.of("A dog on a sofa") is None
    assert read_about(Path(folder) / "a.arrow") == {"top_k": 5}


def test_any_text_can_be_a_caption(tmp_path):
    strange = ["", "\ud800 dog", "一只狗", "\0", "x" * 70_000]
    write_fills(tmp_path / "a.arrow", strange, [[Fill("object", 0, 1, ("x",))]] * 5, {})
    fills = Fills(str(tmp_path))
    assert all(fills.of(text) == [Fill("object", 0, 1, ("x",))] for text in strange)


def test_no_folder_and_damaged_files_are_one_line(folder, tmp_path):
    with pytest.raises(DataError, match="there are no fills in 'gone'; make them once: python -m lightning_cr fill"):
        Fills("gone").of(CAPTION)
    (Path(folder) / "b.arrow").write_bytes(b"")
    with pytest.raises(DataError, match="is damaged") as caught:
        Fills(folder).of(CAPTION)
    assert "\n" not in str(caught.value)
    (tmp_path / "taken").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write_fills(tmp_path / "taken" / "a.arrow", [], [], {})


# The rule


def test_every_place_and_word_is_drawn_and_articles_follow(folder):
    assert drawn(door(folder), CAPTION) == {
        "An old woman rides a horse on a beach.",
        "An old umbrella rides a horse on a beach.",
        "An old man rides an elephant on a beach.",
        "An old man rides a wave on a beach.",
        "An old man rides a bike on a beach.",
    }
    assert drawn(door(folder, "relation"), CAPTION) == {"An old man rides a horse under a beach."}


def test_where_nothing_was_filled_there_is_none(folder):
    assert drawn(door(folder, "attribute"), CAPTION) == set()
    assert drawn(door(folder), "Nothing to fill.") == set()
    assert drawn(door(folder), "A cat on a sofa.") == set()  # this one was never asked for


def test_places_that_the_tokens_do_not_have_are_passed_over(tmp_path):
    write_fills(tmp_path / "a.arrow", ["A dog."], [[Fill("object", 3, 5, ("x",)), Fill("object", 2, 5, ("cat",))]], {})
    assert drawn(door(str(tmp_path)), "A dog.") == {"A cat."}


def test_a_corpus_decides_what_is_drawn(folder):
    corpus = [CAPTION, *["A man rides a wave on a beach.", "A dog on a sofa."] * 30]
    made = door(folder)
    made.learn([TAG(text) for text in corpus])
    texts = [negative.text for seed in range(200) if (negative := made(CAPTION, random.Random(seed))[0])]
    assert texts.count("An old man rides a wave on a beach.") > 0.8 * len(texts) > 0


def test_other_captions_than_those_that_were_filled_are_refused(folder):
    made = door(folder)
    with pytest.raises(DataError, match="fill the captions that you train on: python -m lightning_cr fill") as caught:
        made.learn([TAG(f"A dog {number}.") for number in range(1000)])
    assert "\n" not in str(caught.value)
    few = door(folder)
    few.learn([TAG(text) for text in ["A dog on a sofa.", *(f"A dog {number}." for number in range(1500))]])


def test_the_folder_is_not_needed_before_it_is_asked():
    made = door("gone")
    assert made.kinds == ("slot",)
    with pytest.raises(DataError, match="no fills in 'gone'"):
        made(CAPTION, random.Random(0))


def test_an_unknown_role():
    with pytest.raises(ConfigError, match=r"MaskedFill.role is 'objects'; known are .* Did you mean 'object'"):
        MaskedFill(source="x", role="objects")


def test_every_process_draws_the_same(folder, tmp_path):
    made = door(folder)
    here = str([made(CAPTION, random.Random(seed))[0].text for seed in range(9)])
    (tmp_path / "door.pkl").write_bytes(pickle.dumps(made))
    code = (
        f"import pickle, random, sys; made = pickle.load(open(sys.argv[1], 'rb'))\n"
        f"print([made({CAPTION!r}, random.Random(seed))[0].text for seed in range(9)])\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[3])}
        there = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "door.pkl"], capture_output=True, text=True, timeout=120, env=env
        )
        assert there.stdout.strip() == here, there.stderr


# The guards


def admitted(caption, words, **options):
    filling = Filling(Lexicon(), ("object", "attribute", "relation"), TAG, most=100, **options)
    found = {}
    for place in filling.places(TAG(caption)):
        if fill := filling.fill(place, words):
            found[caption[fill.start : fill.end]] = set(fill.words)
    return found


@pytest.mark.parametrize(
    ("caption", "place", "out", "kept"),
    [
        ("A man on a couch.", "man", {"man", "men", "guy", "person", "surfer", "family"}, {"woman", "dog", "bottle"}),
        ("A man on a couch.", "couch", {"sofa", "loveseat", "couches", "furniture", "man"}, {"bench", "horse"}),
        ("Two dogs.", "dogs", {"dog", "puppies", "animals", "cat", "food"}, {"cats", "bottles"}),
        ("A red car.", "red", {"small", "shiny", "red", "old"}, {"blue", "white"}),
        ("A man with his dog.", "dog", {"woman", "girl"}, {"boy", "car"}),
        ("A boy with his dog.", "boy", {"woman", "girl", "man", "horse", "car"}, set()),
        ("A penguin.", "penguin", {"bird", "duck", "animal"}, {"robot"}),
        ("Some water in a cup.", "water", {"cup", "car"}, {"sand"}),
    ],
)
def test_what_the_lexicon_knows_to_be_another(caption, place, out, kept):
    found = admitted(caption, sorted(out | kept)).get(place, set())
    assert found == kept


def test_a_word_that_is_misread_as_one_is_left_alone():
    assert "helmet skateboards" not in admitted("A child with a helmet skateboards in a park.", ["tracks", "horse"])


def test_unknown_words_keep_their_tag():
    words = ["horses", "horse", "riding", "zorp", "zorps", "of", "blue"]
    assert "zorp" not in admitted("A zorp on a bed.", words)
    assert admitted("A zorp on a bed.", words, unknown=True)["zorp"] == {"horse"}


def test_wordnet_refuses_more():
    if not Path("/usr/share/wordnet/data.noun").is_file():
        pytest.skip("no WordNet in /usr/share/wordnet; apt-get install wordnet-base wordnet-sense-index")
    from lightning_cr.negatives.text.wordnet import WordNet

    words = ["rodent", "cat"]
    assert admitted("A chipmunk.", words, unknown=True)["chipmunk"] == {"rodent", "cat"}
    assert admitted("A chipmunk.", words, unknown=True, wordnet=WordNet("/usr/share/wordnet"))["chipmunk"] == {"cat"}


def test_a_rule_beside_those_that_ask_the_lexicon(folder):
    made = TextNegatives(rules={"a": MaskedFill(source=folder, role="object"), "b": ReplaceObject()})
    assert all(made(CAPTION, random.Random(0)))
