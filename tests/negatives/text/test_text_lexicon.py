import pickle
from pathlib import Path

import pytest
import yaml

from lightning_cr.errors import ConfigError, DataError
from lightning_cr.negatives.text import lexicon as module
from lightning_cr.negatives.text.lexicon import Lexicon, load

BUNDLED = ["coco", "scenes"]


def concepts(name):
    entries = Lexicon(name).tables
    found = {}
    for entry in [*entries.words.values(), *(entry for forms in entries.phrases.values() for _, entry in forms)]:
        for concept in (entry.thing, *entry.qualities):
            if concept is not None:
                found[id(concept)] = concept
    return list(found.values())


@pytest.mark.parametrize("name", BUNDLED)
def test_alternatives_are_never_names_of_the_same(name):
    members = concepts(name)
    assert len(members) > 20
    for concept in members:
        assert len(set(concept.names)) == len(concept.names)
        for other in concept.alternatives:
            assert other.group == concept.group
            assert not set(concept.names) & set(other.names)
            assert concept in other.alternatives  # overlap holds both ways


# Written by hand, not taken from the file: pairs of words one of which is true where the other is.
TRUE_TOGETHER = [
    ("man", "person"), ("couch", "sofa"), ("woman", "lady"), ("boy", "child"), ("child", "kid"), ("baby", "boy"),
    ("puppy", "dog"), ("car", "vehicle"), ("car", "taxi"), ("bike", "bicycle"), ("bike", "motorcycle"), 
    ("bird", "duck"), ("phone", "cellphone"), ("tv", "television"), ("laptop", "computer"),
    ("fridge", "refrigerator"), ("cup", "mug"),
    ("donut", "doughnut"), ("meal", "pizza"), ("dessert", "cake"), ("meat", "chicken"), ("street", "road"),
    ("ocean", "sea"), ("hat", "cap"), ("plane", "jet"), ("boat", "ship"), ("building", "house"), ("room", "kitchen"),
    ("circle", "ring"), ("square", "rectangle"), ("bag", "purse"), ("hill", "mountain"), ("player", "batter"),
    ("big", "large"), ("little", "small"), ("gray", "grey"), ("gray", "silver"), ("cyan", "blue"), ("tan", "brown"),
    ("wood", "wooden"), ("old", "vintage"), ("brick", "stone"), ("several", "many"), ("cloudy", "rainy"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), TRUE_TOGETHER)
def test_words_that_are_true_together_never_replace_each_other(one, other):
    words = Lexicon().tables.words
    for first, second in ((one, other), (other, one)):
        entry = words[first]
        senses = [concept for concept in (entry.thing, *entry.qualities) if concept is not None]
        assert senses, first
        offered = {name for concept in senses for choice in concept.alternatives for name in choice.names}
        assert second not in offered


@pytest.mark.parametrize("name", BUNDLED)
def test_relations_change(name):
    tables = Lexicon(name).tables
    entries = [(form, entry) for form, entry in tables.words.items()]
    entries += [(" ".join(form), entry) for forms in tables.phrases.values() for form, entry in forms]
    seen = 0
    for form, entry in entries:
        for links in entry.links.values():
            for link in links:
                seen += 1
                assert form not in link.instead
    assert seen > 5


def test_scenes_write_only_words_of_the_embedded_world():
    captions = pytest.importorskip("lightning_cr.scenes.captions")
    known = set(captions.vocabulary())
    for concept in concepts("scenes"):
        assert set(concept.name.split()) <= known
        assert not concept.plural or set(concept.plural.split()) <= known | {"backgrounds"}


def test_reading_is_lazy_and_pickling_cheap(monkeypatch):
    monkeypatch.setattr(module, "load", lambda path: pytest.fail("read too early"))
    lexicon = Lexicon()
    assert len(pickle.dumps(lexicon)) < 500


def test_unknown_name_and_missing_file():
    with pytest.raises(ConfigError, match=r"'scene'.*Did you mean 'scenes'\?"):
        Lexicon("scene")
    with pytest.raises(ConfigError, match="which is no file"):
        Lexicon("/nowhere/words.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("objects: {animals: [cat = kitty, dog, kitty]}", "line 1: names 'kitty' a second time"),
        ("objects:\n  pets: [cat, dog]\n  farm: [cow,\n    -cat]", r"line 4: names 'cat'.*after line 2 \('pets'\)"),
        ("objects:\n  pets: [cat]\n  farm: [cow]\n  pets: [dog]", "line 4: has 'pets' a second time.*after line 2"),
        ("objects: {pets: [cat]}\nfixed: [a]\nobjects: {farm: [cow]}", "line 3: has 'objects' a second time"),
        ("objects:\n  pets: [cat]\n  farm: []", "line 3: the group 'farm' of 'objects' has no words"),
        ("objects:\n  pets:\n  farm: [cow]", "line 2: the group 'pets' of 'objects' has no words"),
        ("attributes:\n  sizes: {words: }", "line 2: the group 'sizes' of 'attributes' has no words"),
        ("attributes: {sizes: {of: [cat]}}", "line 1: the group 'sizes' of 'attributes' has no words"),
        ("attributes:\n  ages: [old]\n  looks: [new,\n  old]", "line 4: names 'old'.*limit the first group by of or"),
        ("attributes: {ages: {not_of: [], words: [old, new, old]}}", "line 1: names 'old' a second time"),
        ("compounds: {player: [tennis, golf, tennis]}", "line 1: names 'tennis' a second time"),
        ("object: {animals: [cat]}", r"section 'object'.*Did you mean 'objects'\?"),
        ("- cat", "not a lexicon"),
        ("objects: {animals: [cat", "cannot be read"),
        ("objects: {animals: [cat]}\noverlaps: {cta: [cat]}", "overlap of 'cta'"),
        (
            "objects: {animals: [cat]}\nattributes: {colours: {of: [animal], words: [red, blue]}}",
            r"limits something to 'animal'.*Did you mean 'animals'\?",
        ),
        ("prepositions: [{words: [under]}]", "not laid out as a lexicon"),
    ],
)
def test_faulty_files_are_refused(tmp_path, content, message):
    path = tmp_path / "words.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        load(path)


def test_a_word_may_be_of_two_groups_where_each_is_used(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text(
        "objects: {people: [man, girl], things: [car, bus]}\n"
        "attributes: {ages: {of: [people], words: [old, young]}, ages_of_things: [old, new]}\n"
        "compounds: {player: [tennis, golf], court: [tennis, squash]}\n"
    )
    assert len(load(path).words["old"].qualities) == 2


def test_no_section_is_left_over():
    path = Path(module.__file__).with_name("lexicon.yaml")
    assert set(yaml.load(path.read_text(), yaml.BaseLoader)) == set(module.SECTIONS)
