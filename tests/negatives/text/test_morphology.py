import pytest
import yaml

from lightning_cr.negatives.text.inflection import plural, verb_forms
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.morphology import form, lemma

LEXICONS = ("coco", "scenes")


def sections(name):
    return yaml.load(Lexicon(name).path.read_text(encoding="utf-8"), yaml.BaseLoader)


def nouns(name):
    for content in sections(name)["objects"].values():
        settings = content if isinstance(content, dict) else {"words": content}
        if settings.get("number", "count") == "count":
            for item in settings["words"]:
                yield from item.split(" = ")


def verbs(name):
    raw = sections(name)
    for manner in ("transitive", "intransitive"):
        for rule in raw.get(manner, ()):
            yield from (*rule["words"], *rule["instead"])


@pytest.mark.parametrize("name", LEXICONS)
def test_every_plural_of_the_lexicon_leads_back(name):
    assert [noun for noun in nouns(name) if lemma(plural(noun), "NNS") != noun] == []
    assert [noun for noun in nouns(name) if lemma(noun, "NN") != noun] == []


@pytest.mark.parametrize("name", LEXICONS)
def test_every_verb_form_of_the_lexicon_leads_back(name):
    lost = [
        (verb, tag, made) for verb in verbs(name) for tag, made in verb_forms(verb).items() if lemma(made, tag) != verb
    ]
    assert lost == []


@pytest.mark.parametrize(
    ("words", "tag"),
    [
        (
            "Women>woman firemen>fireman people>person salespeople>salesperson mice>mouse sheep>sheep lives>life "
            "leaves>leaf hooves>hoof loaves>loaf gloves>glove stoves>stove buses>bus houses>house glasses>glass "
            "horses>horse roses>rose vases>vase octopuses>octopus nurses>nurse lenses>lens sizes>size boxes>box "
            "axes>axe watches>watch headaches>headache shoes>shoe potatoes>potato cookies>cookie babies>baby "
            "movies>movie ties>tie skis>ski menus>menu pants>pants scissors>scissors grass>grass cacti>cactus "
            "t-shirts>t-shirt bookshelves>bookshelf grandchildren>grandchild 70s>70s keys>key",
            "NNS",
        ),
        (
            "riding>ride running>run sitting>sit lying>lie skiing>ski dancing>dance juggling>juggle "
            "adding>add rolling>roll dressing>dress buzzing>buzz travelling>travel traveling>travel hanging>hang "
            "changing>change lounging>lounge bathing>bathe breathing>breathe visiting>visit inviting>invite "
            "opening>open decorating>decorate floating>float creating>create exploring>explore towing>tow "
            "squatting>squat queuing>queue waiting>wait leaning>lean leaving>leave tasting>taste resting>rest "
            "seeing>see dyeing>dye playing>play carrying>carry picnicking>picnic water-skiing>water-ski "
            "celebrating>celebrate preparing>prepare gathering>gather spring>spring thing>thing baking>bake "
            "being>be sleeping>sleep grazing>graze eyeballing>eyeball quizzing>quiz using>use",
            "VBG",
        ),
        ("rides>ride watches>watch carries>carry goes>go is>be has>have closes>close 's>be ties>tie does>do", "VBZ"),
        ("rode>ride sat>sit lay>lie saw>see left>leave stood>stand was>be flew>fly found>find tried>try", "VBD"),
        (
            "ridden>ride worn>wear parked>park filled>fill decorated>decorate stopped>stop tied>tie carried>carry "
            "used>use covered>cover prepared>prepare arranged>arrange canoed>canoe agreed>agree echoed>echo "
            "brown-haired>brown-haired sliced>slice surrounded>surround located>locate plugged>plug",
            "VBN",
        ),
        ("lay>lay saw>saw left>left is>be are>be sit>sit stood>stand", "VBP"),
        ("larger>large bigger>big happier>happy taller>tall better>good closer>close older>old wider>wide", "JJR"),
        ("largest>large biggest>big happiest>happy best>good worst>bad strangest>strange simplest>simple", "JJS"),
        ("faster>fast closer>close further>far", "RBR"),
        ("Paris>paris Bus>bus", "NNP"),
        ("during>during building>building women>women", "IN"),
        ("red>red wooden>wooden other>other", "JJ"),
    ],
)
def test_lemma(words, tag):
    pairs = [pair.split(">") for pair in words.split()]
    assert [(word, lemma(word, tag)) for word, _ in pairs] == [(word, base) for word, base in pairs]


def test_phrases_are_led_back_where_inflection_inflects_them():
    assert lemma("Fire Hydrants", "NNS") == "fire hydrant"
    assert lemma("stepping on", "VBG") == "step on"


@pytest.mark.parametrize("tag", ["NNS", "VBZ", "VBG", "VBD", "VBN", "JJR", "JJS", "RBR", "VB", "", "XX", "."])
@pytest.mark.parametrize(
    "word",
    [
        "",
        " ",
        "s",
        "es",
        "ed",
        "ing",
        "er",
        "est",
        "-",
        "-ing",
        "ied",
        "ies",
        "'s",
        "\u732b",
        "\U0001f436",
        "ssss",
        "qued",
    ],
)
def test_odd_words_stay_words(word, tag):
    assert bool(lemma(word, tag)) == bool(word)


def test_form_follows_the_tag():
    assert [form("x", tag) for tag in ("NN", "NNS", "VB", "VBP", "VBZ", "VBG", "VBD", "VBN", "JJ", "IN", "")] == [
        "singular", "plural", "base", "base", "third", "ing", "past", "participle", "", "", ""
    ]  # fmt: skip
    assert form("", "NN") == ""
