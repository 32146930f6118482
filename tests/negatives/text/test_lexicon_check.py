import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_cr.errors import DataError
from lightning_cr.negatives.text.lexicon import Lexicon

SCRIPT = Path(__file__).parents[3] / "scripts" / "check_lexicon.py"
GOOD = """\
objects:
  animals: [dog = puppy, cat]
  seats: {words: [chair, couch = sofa]}
overlaps: {chair: [couch]}
attributes:
  colours: {not_of: [animals], words: [red, blue]}
compounds:
  room: [living, dining]
prepositions:
  - {words: ["on"], before: [seats], instead: [under]}
transitive:
  - {words: [push], instead: [pull]}
"""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("check_lexicon", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def findings(script, tmp_path, text, wordnet=None):
    path = tmp_path / "lexicon.yaml"
    path.write_text(text)
    return script.check(Lexicon(str(path)), wordnet)


def test_a_sound_file_has_no_findings(script, tmp_path):
    assert findings(script, tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("[dog = puppy, cat]", "[dog = puppy, cat, dog]", 2, "'dog' is twice in 'animals'"),
        ("[dog = puppy, cat]", "[dog = dog, cat]", 2, "'dog'"),
        ("[chair, couch", "[chair, cat, couch", 3, "'cat' is in 'seats' and in 'animals' (line 2); keep one"),
        ("[dog = puppy, cat]", "[]", 2, "the group 'animals' of 'objects' is empty"),
        ("{words: [chair, couch = sofa]}", "{number: plural}", 3, "the group 'seats' of 'objects' is empty"),
        ("chair: [couch]", "chair: [couch, sofa]", 4, "'overlaps' has 'sofa'; its first name is 'couch'"),
        ("chair: [couch]", "stool: [couch]", 4, "'overlaps' has 'stool', which is not in 'objects'"),
        ("[animals]", "[animal]", 6, "'not_of' has 'animal', which is no kind, group or first name"),
        ("[seats]", "[seat]", 10, "'before' has 'seat', which is no kind, group or first name"),
        ("[under]", "[]", 10, "a rule of 'prepositions' has no 'instead'"),
        ("  seats:", "  animals:", 3, "'animals' is said twice, first in line 2"),
        ("[red, blue]", "[red, blue, red]", 6, "'red' is twice in 'colours'"),
        ("[living, dining]", "[living, living]", 8, "'living' is twice in 'room'"),
        ("[pull]", "[]", 12, "a rule of 'transitive' has no 'instead'"),
    ],
)
def test_each_mistake_has_its_line(script, tmp_path, old, new, line, says):
    found = findings(script, tmp_path, GOOD.replace(old, new))
    assert any(at == line and says in text for at, text in found), found
    assert not any("\n" in text for _, text in found)


def test_a_quality_may_be_in_two_groups(script, tmp_path):
    assert (
        findings(
            script, tmp_path, GOOD.replace("attributes:", "attributes:\n  other: {of: [animals], words: [red, green]}")
        )
        == []
    )


@pytest.mark.parametrize("text", ["objects: [", "- a", "", "thing: {}"])
def test_what_is_no_lexicon_is_one_line(script, tmp_path, text):
    with pytest.raises(DataError) as caught:
        findings(script, tmp_path, text)
    assert "\n" not in str(caught.value)


class FakeWordNet:
    source = "none"  # has no words to put in

    def knows(self, word, pos):
        return True

    def are_synonyms(self, a, b, pos):
        return {a, b} in ({"puppy", "cat"}, {"living room", "dining room"})

    def is_hypernym(self, a, b, pos):
        return {a, b} in ({"chair", "couch"}, {"red", "blue"}, {"push", "pull"}, {"on", "under"})


def test_words_that_wordnet_relates(script, tmp_path):
    found = findings(script, tmp_path, GOOD, FakeWordNet())
    assert found == [
        (2, "'puppy' and 'cat' of 'animals' are synonyms; write 'dog = cat', or add to overlaps 'dog: [cat]'"),
        (
            6,
            "'red' and 'blue' of 'colours' are a wider word and a narrower one;"
            " add to attribute_overlaps 'red: [blue]'",
        ),
        (8, "'living room' and 'dining room' are synonyms; write 'living = dining' or take one of them out"),
        (
            12,
            "'push' and 'pull' of 'transitive' are a wider word and a narrower one; take one of them out",
        ),
    ]


@pytest.mark.parametrize("name", ["coco", "scenes"])
def test_our_own_files_are_sound(script, name):
    assert script.check(Lexicon(name)) == []


def test_the_exit_status_tells(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("chair: [couch]", "stool: [couch]"))
    for file, status, lines in ((good, 0, 0), (bad, 1, 1)):
        ran = subprocess.run(
            [sys.executable, SCRIPT, file, "--wordnet", "none"], capture_output=True, text=True, timeout=120
        )
        assert ran.returncode == status, ran.stderr
        assert len(ran.stdout.splitlines()) == lines
    assert f"{bad}:4: 'overlaps' has 'stool'" in ran.stdout


class Everything(FakeWordNet):
    def are_synonyms(self, a, b, pos):
        return True


def test_what_the_rules_put_in_is_judged(script, tmp_path, capsys):
    captions, lexicon = tmp_path / "captions.json", tmp_path / "lexicon.yaml"
    said = ["A dog on a red chair.", "A cat on a blue couch."] * 10
    captions.write_text(json.dumps([{"image": "a.jpg", "caption": said}]))
    lexicon.write_text(GOOD)
    wrong = script.measure(captions, str(lexicon), Everything())
    said = capsys.readouterr().out
    assert "attribute, drawn evenly: 20 negatives, 2 pairs of words, 20 negatives wrong" in said
    assert "  'red' > 'blue' are synonyms (10)" in said
    assert re.search(r"relation, drawn evenly: \d+ negatives, 1 pairs of words, 0 negatives wrong", said)  # no verbs
    assert wrong >= 8
