import math
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_cr.errors import ConfigError, DataError
from lightning_cr.negatives.text import annotation, tagging
from lightning_cr.negatives.text.annotation import AnnotatedCorpus, annotate
from lightning_cr.negatives.text.morphology import lemma
from lightning_cr.negatives.text.shards import Shard, noun_phrases
from lightning_cr.negatives.text.tagging import Tagger

TAGGER = Tagger(remember=0)
PLACES = """
    barn house church bridge river lake tree fence wall road market school tower castle garden field forest beach
    station harbor temple museum stable
"""
CAPTIONS = [f"A man riding two small brown horses near the old {place}." for place in PLACES.split()]
ODD = {
    "": "empty",
    " \n\t": "empty",
    "A dog \U0001f436 on a mat": "emoji",
    "a\x00b \x1b[31m red \u202e cat": "control",
    "\u4e00\u53ea\u732b\u5750\u5728\u57ab\u5b50\u4e0a": "other_script",
    "\u0642\u0637\u0629 \u0639\u0644\u0649 \u0627\u0644\u0633\u062c\u0627\u062f\u0629": "other_script",
    "half a pair \ud83d of a dog": "surrogate",
    "a cat on a mat " * 1000: "many_words",
    "x" * 70_000: "too_long",
    "caf\u00e9 \u0130 na\u00efve a\u0301": None,
    "'s 's _ _ 1/2 ...!?": None,
    "A TWO-YEAR-OLD'S CAT": None,
}


class Lengths:
    """Rates a word by its length; marks are unknown."""

    source = "lengths"

    def of_caption(self, caption):
        return [len(token.text) / 16 if token.text.isalpha() else math.nan for token in caption.tokens]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(annotation, "_SHARD", 5)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def mtimes(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def all_of(corpus):
    return [(corpus[index], corpus.lemmas(index), corpus.phrases(index)) for index in range(len(corpus))]


def test_gives_back_what_the_tagger_gives(tmp_path):
    corpus = annotate(CAPTIONS, TAGGER, tmp_path / "not" / "there yet")
    assert len(corpus) == len(CAPTIONS)
    assert [corpus[index] for index in range(len(corpus))] == [TAGGER(caption) for caption in CAPTIONS]
    assert corpus.text(7) == CAPTIONS[7]
    assert corpus[-1] == corpus[len(CAPTIONS) - 1]
    assert corpus.lemmas(0) == tuple(lemma(token.text, token.tag) for token in corpus[0].tokens)
    assert corpus.lemmas(0)[2:6] == ("ride", "two", "small", "brown")
    assert [" ".join(token.text for token in corpus[0].tokens[p.start : p.end]) for p in corpus.phrases(0)] == [
        "A man", "two small brown horses", "the old barn"
    ]  # fmt: skip
    assert [corpus.lemmas(0)[phrase.head] for phrase in corpus.phrases(0)] == ["man", "horse", "barn"]
    assert all(map(math.isnan, corpus.concreteness(0)))
    assert corpus.problems == {}
    for outside in (len(CAPTIONS), -len(CAPTIONS) - 1):
        with pytest.raises(IndexError):
            corpus[outside]


def test_odd_captions_are_kept_and_counted(tmp_path):
    corpus = annotate(list(ODD), TAGGER, tmp_path)
    counts = {}
    for index, (caption, problem) in enumerate(ODD.items()):
        assert corpus.text(index) == caption
        assert corpus[index] == (TAGGER(caption) if problem != "too_long" else corpus[index])
        if problem:
            counts[problem] = counts.get(problem, 0) + 1
    assert corpus.problems == counts
    assert [len(corpus[index].tokens) for index, problem in enumerate(ODD.values()) if problem == "too_long"] == [0]
    assert [len(corpus[index].tokens) for index, problem in enumerate(ODD.values()) if problem == "many_words"] == [
        5000
    ]


def test_nothing_gives_nothing(tmp_path):
    told = []
    corpus = annotate([], TAGGER, tmp_path / "none", progress=lambda *counts: told.append(counts))
    assert (len(corpus), corpus.problems, told) == (0, {}, [(0, 0)])
    assert not (tmp_path / "none").exists()
    with pytest.raises(IndexError):
        corpus[0]


def test_ratings_are_stored_by_token(tmp_path):
    corpus = annotate(CAPTIONS, TAGGER, tmp_path, concreteness=Lengths())
    rated = corpus.concreteness(3)
    assert len(rated) == len(corpus[3].tokens)
    assert rated[:3] == (1 / 16, 3 / 16, 6 / 16)
    assert math.isnan(rated[-1])
    # with and without ratings, or by others, are different annotations
    before = mtimes(tmp_path)
    annotate(CAPTIONS, TAGGER, tmp_path)
    assert len(mtimes(tmp_path)) == 2 * len(before)


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_writes_the_same_bytes(tmp_path, workers):
    alone = annotate(CAPTIONS, TAGGER, tmp_path / "alone", concreteness=Lengths())
    told = []
    many = annotate(
        CAPTIONS, TAGGER, tmp_path / "many", workers, Lengths(), lambda done, total: told.append((done, total))
    )
    assert contents(tmp_path / "alone") == contents(tmp_path / "many")
    assert all_of(alone) == all_of(many)
    assert told[0] == (0, len(CAPTIONS))
    assert told[-1] == (len(CAPTIONS), len(CAPTIONS))
    assert told == sorted(told)


class Halves(Lengths):
    source = "halves"

    def of_caption(self, caption):
        return [0.5]


@pytest.mark.parametrize("workers", [0, 1])
def test_what_goes_wrong_in_a_worker_is_told(tmp_path, workers):
    with pytest.raises(DataError, match=r"^'halves' rates 1 of the 12 tokens of 'A man riding"):
        annotate(CAPTIONS, TAGGER, tmp_path, workers, Halves())
    assert contents(tmp_path) == {}


class Deadly(Lengths):
    def of_caption(self, caption):
        os._exit(9)


def test_a_worker_that_is_killed(tmp_path):
    annotate(CAPTIONS[:10], TAGGER, tmp_path, 0, Lengths())
    with pytest.raises(DataError, match=r"an annotation worker died .* run again with fewer than 2 workers, or with 0"):
        annotate(CAPTIONS, TAGGER, tmp_path, 2, Deadly())


def test_workers_are_none_or_some(tmp_path):
    with pytest.raises(ConfigError, match="workers is -1; it must be 0"):
        annotate(CAPTIONS, TAGGER, tmp_path, workers=-1)


def test_the_same_captions_again_cost_nothing(tmp_path, monkeypatch):
    first = annotate(CAPTIONS, TAGGER, tmp_path)
    before = mtimes(tmp_path)
    assert len(before) == 5
    monkeypatch.setattr(Tagger, "annotate", lambda self, text: pytest.fail("the tagger was asked"))
    told = []
    again = annotate(tuple(CAPTIONS), TAGGER, tmp_path, progress=lambda *counts: told.append(counts))
    assert mtimes(tmp_path) == before
    assert told == [(len(CAPTIONS), len(CAPTIONS))]
    assert all_of(again) == all_of(first)
    # another corpus has the first ten captions in common, twice
    shared = annotate(CAPTIONS[:10] + CAPTIONS[:10], TAGGER, tmp_path)
    assert mtimes(tmp_path) == before
    assert [shared.text(index) for index in range(20)] == CAPTIONS[:10] * 2


def test_what_is_new_is_annotated_once(tmp_path):
    told = []
    annotate(CAPTIONS[:5] * 3, TAGGER, tmp_path, progress=lambda *counts: told.append(counts))
    assert told == [(0, 15), (15, 15)]
    changed = [*CAPTIONS[:-1], "Another caption"]
    before = mtimes(tmp_path)
    annotate(CAPTIONS, TAGGER, tmp_path)
    annotate(changed, TAGGER, tmp_path)
    assert len(mtimes(tmp_path)) == 6
    assert before.items() <= mtimes(tmp_path).items()


def damaged(path, how):
    whole = path.read_bytes()
    path.unlink()  # captions of before are mapped from it
    if how == "flipped":
        at = whole.index(b"near") + 1
        path.write_bytes(whole[:at] + b"o" + whole[at + 1 :])
    elif how != "gone":
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "other": b"ARROW1 no it is not"}[how])


@pytest.mark.parametrize("how", ["gone", "empty", "cut", "other", "flipped"])
def test_a_killed_run_goes_on_where_it_stopped(tmp_path, how):
    expected = all_of(annotate(CAPTIONS, TAGGER, tmp_path))
    before, whole = mtimes(tmp_path), contents(tmp_path)
    for name in sorted(before)[:2]:
        damaged(tmp_path / name, how)
    told = []
    corpus = annotate(CAPTIONS, TAGGER, tmp_path, progress=lambda *counts: told.append(counts))
    assert all_of(corpus) == expected
    assert contents(tmp_path) == whole
    kept = sorted(before)[2:]
    assert {name: mtimes(tmp_path)[name] for name in kept} == {name: before[name] for name in kept}
    assert len(told) == 3


def test_killed_for_real(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from lightning_cr.negatives.text import annotation, tagging;"
        "annotation._SHARD = 5; captions = eval(sys.argv[1]);"
        "annotation.annotate(captions, tagging.Tagger(), Path(sys.argv[2]),"
        " progress=lambda done, total: os._exit(9) if done >= 10 else None)"
    )
    assert subprocess.run([sys.executable, "-c", code, repr(CAPTIONS), str(tmp_path)], check=False).returncode == 9
    before = mtimes(tmp_path)
    assert len(before) == 2
    corpus = annotate(CAPTIONS, TAGGER, tmp_path)
    assert before.items() <= mtimes(tmp_path).items()
    assert [corpus.text(index) for index in range(len(corpus))] == CAPTIONS


class Ponder(Lengths):
    """Never ends, and tells who it is."""

    def __init__(self, folder):
        self.folder = folder

    def of_caption(self, caption):
        (self.folder / f"{os.getpid()}.pid").touch()
        time.sleep(600)


def wait_until(happened):
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it did not happen within a minute"
        time.sleep(0.05)


def is_alive(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_workers_end_with_the_run_that_was_killed(tmp_path):
    asking = multiprocessing.get_context("spawn").Process(
        target=annotate, args=(CAPTIONS, TAGGER, tmp_path / "shards", 2, Ponder(tmp_path))
    )
    asking.start()
    wait_until(lambda: list(tmp_path.glob("*.pid")))
    worker = int(next(tmp_path.glob("*.pid")).stem)
    asking.kill()
    asking.join()
    wait_until(lambda: not is_alive(worker))


def test_half_written_files_of_dead_runs_are_removed(tmp_path):
    old, new = tmp_path / "abc.1.tmp", tmp_path / "abc.2.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    annotate(CAPTIONS, TAGGER, tmp_path)
    assert [path.name for path in tmp_path.glob("*.tmp")] == ["abc.2.tmp"]


def test_another_tagger_gives_other_files(tmp_path, monkeypatch):
    annotate(CAPTIONS, TAGGER, tmp_path)
    before = mtimes(tmp_path)
    monkeypatch.setitem(tagging.TAGGERS, "odd", lambda words: [f"T{len(word)}" for word in words])
    corpus = annotate(CAPTIONS, Tagger("odd"), tmp_path)
    assert len(mtimes(tmp_path)) == 2 * len(before)
    assert [token.tag for token in corpus[0].tokens][:3] == ["T1", "T3", "T6"]  # tags that nobody has listed
    monkeypatch.setattr(Tagger, "version", "pattern of another release")
    annotate(CAPTIONS, TAGGER, tmp_path)
    assert len(mtimes(tmp_path)) == 3 * len(before)
    monkeypatch.setattr(annotation, "_SHARD", 50)
    monkeypatch.setitem(tagging.TAGGERS, "far too many", lambda words: [str(time.perf_counter_ns()) for _ in words])
    with pytest.raises(DataError, match="at most 256 can be stored"):
        annotate(CAPTIONS * 10, Tagger("far too many"), tmp_path)


def test_pickles_as_names_and_maps_again(tmp_path):
    corpus = annotate(CAPTIONS * 40, TAGGER, tmp_path)
    payload = pickle.dumps(corpus)
    assert len(payload) < 200 * len(corpus.paths)
    assert all_of(pickle.loads(payload)) == all_of(corpus)
    corpus.paths[0].unlink()
    with pytest.raises(DataError, match=r"\.arrow' is missing; run annotate again"):
        pickle.loads(payload)
    corpus.paths[1].write_bytes(b"ARROW1")
    with pytest.raises(DataError, match=r"\.arrow' is damaged .*run annotate again"):
        AnnotatedCorpus(corpus.paths[1:])
    assert corpus.text(0) == CAPTIONS[0]  # what is mapped stays


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_holds_no_file_open_and_copies_nothing(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    corpus = annotate(CAPTIONS * 20, TAGGER, tmp_path)
    assert len(corpus.paths) > 50
    assert len(os.listdir("/proc/self/fd")) == before
    shard = Shard.open(corpus.paths[0])
    assert not any(view.flags.owndata for view in (shard.starts, shard.ends, shard.tags, shard.lemmas, *shard.phrases))


@pytest.mark.parametrize("wrong", [None, 3, b"a dog", float("nan")])
def test_what_is_no_text_is_named(tmp_path, wrong):
    with pytest.raises(DataError, match=r"caption 7 is .*, no text; every caption must be a string"):
        annotate([*CAPTIONS[:7], wrong], TAGGER, tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"annotations cannot be written to '.*file' \(.*\); give a folder"):
        annotate(CAPTIONS, TAGGER, tmp_path / "file")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("DT NN IN DT JJ NN", [(0, 2, 1), (3, 6, 5)]),
        ("DT JJ CC JJ NN", [(0, 5, 4)]),
        ("DT NN CC NN", [(0, 2, 1), (3, 4, 3)]),
        ("NNS VBG NNS", [(0, 1, 0), (2, 3, 2)]),
        ("DT VBN NN NN", [(0, 4, 3)]),
        ("PRP$ RB JJ , JJ NNS", [(0, 6, 5)]),
        ("CD JJ NNS VBP JJ", [(0, 3, 2)]),
        ("DT NN POS NN", [(0, 2, 1), (3, 4, 3)]),
        ("DT VBZ RB JJ", []),
        ("", []),
    ],
)
def test_noun_phrases(tags, expected):
    assert noun_phrases(tags.split()) == expected


def test_many_describing_words_do_not_take_forever():
    begun = time.perf_counter()
    noun_phrases(["RB", "JJ", "VBN"] * 20_000)
    assert time.perf_counter() - begun < 5.0
