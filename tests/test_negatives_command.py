"""The command ``negatives``: what it prints, what it writes, and what it says to bad input."""

import json
import re
from functools import partial

import pytest
import yaml

from lightning_cr.look.captions import read_captions
from lightning_cr.look.command import rule_classes
from tests.conftest import ROOT

CAPTIONS = [
    "A man riding a brown horse on a sandy beach.",
    "Two dogs are lying on the red couch.",
    "A woman is holding a small umbrella near a yellow bus.",
    "A cat sleeping on top of a wooden table.",
]


@pytest.fixture
def file(tmp_path):
    def write(content=CAPTIONS, name="captions.txt"):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text("\n".join(content) if name.endswith(".txt") else json.dumps(content))
        return path

    return write


@pytest.fixture
def shown(cli, capsys):
    """What the command prints, in one line: tables are folded to the width of the terminal."""

    def run(path, *arguments):
        assert cli("negatives", "--captions", path, *arguments) == 0, capsys.readouterr().err
        return " ".join(capsys.readouterr().out.split())

    return run


@pytest.fixture
def refused(refused):
    return partial(refused, "negatives")


def written(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# What is shown


def test_a_person_sees_what_was_changed(shown, file):
    found = shown(file())
    for caption in CAPTIONS:
        assert caption in found
    changed = re.findall(r"replace_(?:obj|att|rel) [^\[\]]*\[([\w -]+) > ([\w -]+)\]", found)
    assert len(changed) >= 8
    assert all(old in " ".join(CAPTIONS) and old != new for old, new in changed)
    assert "4 of 4 captions" in found
    assert "fewer than 1,000" in found
    for slot in ("swap_obj", "swap_att", "replace_att", "replace_obj", "replace_rel"):
        assert found.count(slot) == 4


def test_rules_are_chosen_by_slot_and_by_class(shown, file):
    found = shown(file(), "--rules", "replace_obj", "SwapAttributes", "replace_obj")
    assert found.count("replace_obj") == found.count("swap_att") == 4
    assert "replace_rel" not in found


def test_the_slots_are_those_of_ahnpl():
    known = {slot: rule.__name__ for slot, rule in rule_classes().items()}
    rules = yaml.safe_load((ROOT / "configs/ahnpl.yaml").read_text())["data"]["negatives"]["rules"]
    for slot, rule in rules.items():
        assert known[slot] == rule["class_path"]


def test_the_seed_decides(shown, file):
    runs = [shown(file(), "--seed", seed) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_count_takes_so_many(shown, file):
    assert "2 of 4 captions" in shown(file(), "--count", 2)


def test_markup_and_controls_reach_no_terminal(shown, file):
    found = shown(file(["[bold]A dog[/bold] \x1b[31m on\x07 a red bus $x^2$"]))
    assert "[bold]A dog[/bold]" in found
    assert "\x1b" not in found
    assert "\x07" not in found


def test_without_norms_nothing_is_rated(shown, file):
    assert "0." not in shown(file(), "--norms", "none", "--rules", "replace_obj")


def test_a_corpus_is_learned_from_unless_plain(shown, file, tmp_path):
    path = file([f"{caption} {n}" for n in range(300) for caption in CAPTIONS])
    out = tmp_path / "made.jsonl"
    assert "learned from 1,200 captions" in shown(path, "--out", out)
    learned = written(out)
    assert "learned from" not in shown(path, "--out", out, "--plain")
    assert written(out) != learned


# What is written


def test_a_line_of_json_a_caption_with_all_fields(shown, file, tmp_path):
    out = tmp_path / "new" / "made.jsonl"
    assert f"wrote {out}" in shown(file(), "--out", out)
    rows = written(out)
    assert [row["caption"] for row in rows] == CAPTIONS
    for row in rows:
        for negative in row["negatives"]:
            assert negative["text"] != row["caption"]
            span = row["caption"][negative["start"] : negative["end"]]
            assert negative["original"].lower() in span.lower()
            assert set(negative) == {"text", "kind", "original", "replacement", "start", "end", "concreteness"}
    assert list(out.parent.iterdir()) == [out]


def test_what_is_written_can_be_trained_on(shown, file, tmp_path):
    from lightning_cr.data import GivenNegatives
    from lightning_cr.encoders.base import Preprocess

    out = tmp_path / "made.jsonl"
    shown(file([{"image": "a/1.png", "caption": CAPTIONS}], "list.json"), "--out", out)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    source = GivenNegatives("made.jsonl", max_skipped=0)
    train, _ = source.open(tmp_path, Preprocess(16, (0.5,) * 3, (0.5,) * 3), 0)
    assert list(train.texts) == CAPTIONS
    assert set(source.kinds) == {negative["kind"] for row in written(out) for negative in row["negatives"]}
    assert "replace_obj" in source.kinds


def test_a_report_has_figures_and_a_picture(shown, file, tmp_path):
    folder = tmp_path / "deep" / "report"
    found = shown(file(), "--report", folder, "--rules", "replace_obj", "swap_obj")
    assert "report.png" in found
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((folder / "report.json").read_text())
    assert report["captions"] == 4
    assert report["coverage"] == 1.0
    assert report["learned"] is False
    rule = report["rules"]["replace_obj"]
    assert rule["coverage"] == 1.0
    assert sum(row["out"] for row in rule["balance"]) == rule["negatives"] == 4
    assert sum(rule["concreteness"]["histogram"]) == rule["concreteness"]["rated"] == 4
    assert 0.5 < rule["concreteness"]["mean"] <= 1
    assert report["rules"]["swap_obj"]["balance"] == []
    assert report["rules"]["swap_obj"]["same_number_of_words"] == 1.0


def test_a_report_of_no_negatives(shown, file, tmp_path):
    shown(file(["hm"]), "--report", tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["coverage"] == 0
    assert report["rules"]["swap_obj"]["same_number_of_words"] is None


# What is read

COCO = {"annotations": [{"image_id": n, "caption": text} for n, text in enumerate(CAPTIONS)]}
KARPATHY = {"images": [{"filepath": "val2014", "filename": "x.jpg", "sentences": [{"raw": text} for text in CAPTIONS]}]}


@pytest.mark.parametrize(
    ("content", "name", "images"),
    [
        (CAPTIONS, "c.txt", {None}),
        (CAPTIONS, "c.json", {None}),
        (COCO, "c.json", {0, 1, 2, 3}),
        (KARPATHY, "c.json", {"val2014/x.jpg"}),
        ([{"image": "a.jpg", "caption": CAPTIONS}], "c.json", {"a.jpg"}),
        (
            "\n".join(json.dumps({"image": "a.jpg", "caption": text}) for text in CAPTIONS).encode(),
            "c.jsonl",
            {"a.jpg"},
        ),
        ("\r\n".join(CAPTIONS).encode("utf-8-sig"), "c.txt", {None}),
    ],
    ids=["text", "list of texts", "COCO", "Karpathy", "retrieval", "JSONL", "text of Windows"],
)
def test_every_usual_shape_is_read(file, content, name, images):
    found = read_captions(file(content, name))
    assert found.texts == CAPTIONS
    assert set(found.images) == images
    assert not found.problems


def test_strange_captions_are_counted_and_said(shown, file, tmp_path):
    strange = [
        "A dog 🙂 on a red bus",
        "A dog \x07 on a red bus",
        "一只狗在桌子上",
        "كلب على طاولة",
        "word " * 5000,
        "x" * 70_000,
        "!!!",
        "_" * 200,
        "A dog on a red bus",
    ]
    found = shown(file(strange, "s.json"), "--out", tmp_path / "made.jsonl", "--report", tmp_path / "report")
    for word in ("1 emoji", "1 control characters", "2 other scripts", "more than 80 words", "more than 65,535"):
        assert word in found, found
    assert len(written(tmp_path / "made.jsonl")) == len(strange)
    assert "9 of 9 captions" in shown(file(strange, "s.json"))


def test_what_is_no_caption_is_left_out_and_said(shown, file):
    found = shown(file(["", "  ", 7, None, {"caption": []}, {"image": 1}, "\ud800 a dog on a bus"], "s.json"))
    assert "1 of 1 captions" in found
    assert "2 left out: empty" in found
    assert "3 left out: no text" in found
    assert "1 broken characters" in found
    assert "1 mended: no UTF-8" in shown(file(b"a caf\xe9 in a red bus\n"))


# What is refused


def test_files_that_cannot_be_used(refused, file, tmp_path):
    assert str(tmp_path / "gone.txt") in refused("--captions", "gone.txt")
    assert "is a folder" in refused("--captions", tmp_path)
    assert "it is empty" in refused("--captions", file(b""))
    assert "2 left out: empty" in refused("--captions", file(b"\n \n"))
    for broken in (b"", b"{", b"{}", b"3", b"\xff\xfe", b"[" * 100_000, b'{"annotations": 3}', b'{"images": [3]}'):
        assert "c.json" in refused("--captions", file(broken, "c.json"))
    assert "2 left out: no JSON" in refused("--captions", file(b"{\n[[\n", "c.jsonl"))
    assert "--captions FILE" in refused()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rules", "swap_ob"), ["swap_ob", "Did you mean 'swap_obj'"]),
        (("--rules", "SwapObject"), ["Did you mean 'SwapObjects'"]),
        (("--count", 0), ["--count is 0", "1 or more"]),
        (("--count", "many"), ["count", "int", "'many'"]),
        (("--tagger", "patern"), ["Did you mean 'pattern'"]),
        (("--lexicon", "coc"), ["Did you mean 'coco'"]),
        (("--norms", "gone.csv"), ["gone.csv"]),
        (("--wordnet", "gone"), ["'gone' is no folder with WordNet", "run: python -m nltk.downloader wordnet"]),
        (("--wordnet", "nltk", "--plain"), ["needs a corpus"]),
        (("--lexcion", "coco"), ["Did you mean '--lexicon'"]),
        (("--out", "."), ["--out"]),
        (("--out", "taken/made.jsonl"), ["--out", "taken"]),
        (("--report", "taken"), ["--report", "taken"]),
    ],
)
def test_values_that_cannot_be_used(refused, file, tmp_path, arguments, words):
    (tmp_path / "taken").touch()
    said = refused("--captions", file(), *arguments)
    for word in words:
        assert word in said, said


def test_the_command_is_listed_and_suggested(cli, capsys, tmp_path):
    assert cli("--help") == 0
    assert "negatives" in capsys.readouterr().out
    assert cli("negatives", "--help") == 0
    said = capsys.readouterr().out
    assert "--report" in said
    assert "replace_obj (ReplaceObject)" in " ".join(said.split())
    assert cli("negatve") == 1
    assert "Did you mean 'negatives'" in capsys.readouterr().err
    (tmp_path / "empty.yaml").write_text("{}")
    assert cli("--config", tmp_path / "empty.yaml", "negatives") == 1
    assert "error: negatives takes no --config" in capsys.readouterr().err
