import os
import pickle
import shutil
import subprocess
import sys

import pytest

from lightning_cr.errors import ConfigError, DataError
from lightning_cr.negatives.text.wordnet import WordNet

# name: (topic's number, words, their counted uses, the wider sense)
NOUNS = {
    "entity": (3, ["entity"], 9, None),
    "object": (17, ["object"], 9, "entity"),
    "living": (3, ["living"], 9, "object"),
    "animal": (5, ["animal", "beast"], 9, "living"),
    "mammal": (5, ["mammal"], 9, "animal"),
    "placental": (5, ["placental"], 9, "mammal"),
    "rodent": (5, ["rodent"], 9, "placental"),
    "squirrel": (5, ["squirrel"], 4, "rodent"),
    "red": (5, ["red_squirrel"], 1, "squirrel"),
    "chipmunk": (5, ["chipmunk", "striped_squirrel"], 3, "rodent"),
    "mouse": (5, ["mouse"], 5, "rodent"),
    "porcupine": (5, ["porcupine", "hedgehog"], 0, "rodent"),
    "named": (5, ["Jerry"], 2, "rodent"),
    "gadget": (6, ["gadget", "rat"], 1, "object"),
    "rat": (5, ["rat"], 2, "rodent"),
    "money": (21, ["lettuce"], 3, "entity"),
    "plant": (20, ["plant"], 2, "living"),
    "lettuce": (20, ["lettuce"], 0, "plant"),
}


def write_wordnet(folder):
    """A small WordNet in the files' own form: a synset is found by the place of its line in data.noun."""
    lines = {}
    places = dict.fromkeys(NOUNS, 0)
    for _ in range(2):  # the places are known once all lines have their lengths
        at = 0
        for name, (topic, words, _, wider) in NOUNS.items():
            listed = " ".join(f"{word} 0" for word in words)
            pointer = f"001 @ {places[wider]:08d} n 0000" if wider else "000"
            narrower = [other for other, row in NOUNS.items() if row[3] == name]
            count = len(narrower) + bool(wider)
            pointers = [pointer[4:]] if wider else []
            pointers += [f"~ {places[other]:08d} n 0000" for other in narrower]
            lines[name] = " ".join(
                [f"{at:08d} {topic:02d} n {len(words):02x} {listed} {count:03d}", *pointers, "| it\n"]
            )
            places[name] = at
            at += len(lines[name])
    senses = {}
    for name, (_, words, _, _) in NOUNS.items():
        for word in words:
            senses.setdefault(word.lower(), []).append(name)
    folder.mkdir(parents=True)
    for part in ("adj", "adv", "noun", "verb"):
        for file in (f"data.{part}", f"index.{part}", f"{part}.exc"):
            (folder / file).touch()
    (folder / "data.noun").write_text("".join(lines.values()))
    (folder / "index.noun").write_text(
        "".join(
            f"{word} n {len(found)} 0 {len(found)} 0 {' '.join(f'{places[name]:08d}' for name in found)}\n"
            for word, found in sorted(senses.items())
        )
    )
    (folder / "noun.exc").write_text("mice mouse\n")
    (folder / "index.sense").touch()
    counts = [f"{word.lower()}%1:{row[0]:02d}:00:: 1 {row[2]}\n" for row in NOUNS.values() for word in row[1] if row[2]]
    (folder / "cntlist.rev").write_text("".join(sorted(counts)))
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_wordnet(tmp_path_factory.mktemp("data") / "wn")


@pytest.fixture
def small(folder, monkeypatch):
    import nltk

    monkeypatch.setattr(nltk.data, "path", list(nltk.data.path))
    return WordNet(folder)


def test_synonyms_in_any_form(small):
    assert small.are_synonyms("Animals", "beast", "n")
    assert small.are_synonyms("striped squirrels", "chipmunk", "n")
    assert not small.are_synonyms("squirrel", "mouse", "n")
    assert not small.are_synonyms("no such word", "mouse", "n")


def test_hypernyms_in_either_direction_at_any_depth(small):
    assert small.is_hypernym("rodent", "mice", "n")
    assert small.is_hypernym("mouse", "animal", "n")
    assert not small.is_hypernym("mouse", "squirrel", "n")


def test_an_unknown_compound_is_a_kind_of_its_head(small):
    assert small.is_hypernym("old grey squirrel", "rodent", "n")
    assert small.is_hypernym("garden squirrel", "squirrel", "n")
    assert not small.are_synonyms("garden squirrel", "squirrel", "n")
    assert not small.is_hypernym("garden squirrel", "red squirrel", "n")


def test_what_no_picture_shows_is_not_meant(folder, small):
    assert small.is_hypernym("lettuce", "plant", "n")
    first = WordNet(folder, senses=1)
    assert first.is_hypernym("lettuce", "plant", "n")
    assert WordNet(folder, senses=None).is_hypernym("lettuce", "entity", "n")


def test_co_hyponyms_keep_the_guards(small):
    # neither the proper name, nor what no text uses, nor "rat", which may be a gadget
    assert small.co_hyponyms("chipmunk") == ("mouse", "squirrel")
    assert small.alternatives("chipmunks", True) == ("mice", "squirrels")
    assert small.co_hyponyms("rat") == ()
    assert small.co_hyponyms("animal") == ()  # too wide
    assert small.co_hyponyms("chipmunk", "v") == ()


def test_a_pickled_copy_answers_the_same(small):
    small.co_hyponyms("chipmunk")
    copy = pickle.loads(pickle.dumps(small))
    assert (copy.source, copy.senses) == (small.source, small.senses)
    assert copy.co_hyponyms("chipmunk") == small.co_hyponyms("chipmunk")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_opens_files_of_its_own(folder):
    # A child that shared the parent's open files would move the place where the parent reads. In a process of its own,
    # since this one may have threads.
    code = (
        "import os, sys; from lightning_cr.negatives.text.wordnet import WordNet\n"
        f"w = WordNet({folder!r}); w.are_synonyms('mouse', 'rat', 'n'); child = os.fork()\n"
        "w.is_hypernym('chipmunk', 'animal', 'n') or os._exit(3)\n"
        "child or os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


@pytest.mark.parametrize("zipped", [False, True])  # NLTK's downloader may leave it as it came
def test_found_in_nltk_s_own_path(tmp_path, monkeypatch, zipped):
    import nltk

    write_wordnet(tmp_path / "corpora" / "wordnet")
    if zipped:
        shutil.make_archive(str(tmp_path / "corpora" / "wordnet"), "zip", tmp_path / "corpora", "wordnet")
        shutil.rmtree(tmp_path / "corpora" / "wordnet")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    assert WordNet().is_hypernym("mouse", "animal", "n")


def test_a_missing_corpus_names_both_ways(tmp_path, monkeypatch):
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    for source, what in (("nltk", "not in NLTK's data path"), (str(tmp_path / "none"), "it has no 'data.noun'")):
        with pytest.raises(DataError, match=what) as caught:
            WordNet(source)
        message = str(caught.value)
        assert "run: python -m nltk.downloader wordnet" in message
        assert "apt-get install wordnet-base wordnet-sense-index" in message
        assert "\n" not in message


def test_a_damaged_corpus_is_one_line(tmp_path, monkeypatch):
    import nltk

    monkeypatch.setattr(nltk.data, "path", list(nltk.data.path))
    damaged = write_wordnet(tmp_path / "wn")
    (tmp_path / "wn" / "index.noun").write_text("mouse n two\n")
    with pytest.raises(DataError, match="cannot be read as WordNet") as caught:
        WordNet(damaged).are_synonyms("mouse", "rat", "n")
    assert "\n" not in str(caught.value)


def test_senses_below_one():
    with pytest.raises(ConfigError, match="senses is 0; it must be 1 or more"):
        WordNet(senses=0)


@pytest.fixture(scope="module")
def full():
    for source in ("nltk", "/usr/share/wordnet"):
        try:
            return WordNet(source)
        except DataError as error:
            reason = str(error)
    pytest.skip(reason)


@pytest.mark.parametrize(
    ("a", "b", "pos", "synonyms", "wider"),
    [
        ("couch", "sofas", "n", True, False),
        ("dog", "animal", "n", False, True),
        ("dog", "man", "n", False, False),  # "dog" is a fellow too
        ("crane", "writer", "n", False, False),
        ("big", "large", "a", True, False),
        ("huge", "large", "a", False, True),
        ("red", "blue", "a", False, False),
        ("running", "walking", "v", False, False),
        ("talk", "speak", "v", True, False),
        ("paws", "hands", "n", False, False),
    ],
)
def test_the_real_corpus(full, a, b, pos, synonyms, wider):
    assert full.are_synonyms(a, b, pos) is full.are_synonyms(b, a, pos) is synonyms
    if not synonyms:
        assert full.is_hypernym(a, b, pos) is full.is_hypernym(b, a, pos) is wider


def test_co_hyponyms_of_the_real_corpus(full):
    assert "squirrel" in full.co_hyponyms("mouse")
    assert "armchairs" in full.alternatives("wheelchairs", True)
    assert "chairs" not in full.alternatives("wheelchairs", True)
    assert full.co_hyponyms("singer") == ()  # who may be a father too
