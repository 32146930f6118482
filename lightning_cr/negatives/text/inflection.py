"""English forms: plurals, verb endings, and whether a word wants "a" or "an".

Small on purpose: these functions inflect the words of the lexicon, which a test reads through, not arbitrary English.
"""

from __future__ import annotations

__all__ = ["article", "plural", "verb_forms"]

_PLURALS = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "people",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "wolf": "wolves",
    "calf": "calves",
    "leaf": "leaves",
    "shelf": "shelves",
    "loaf": "loaves",
    "knife": "knives",
    "scarf": "scarves",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mango": "mangoes",
    "cactus": "cacti",
    "sheep": "sheep",
    "deer": "deer",
    "fish": "fish",
    "elk": "elk",
    "moose": "moose",
    "woods": "woods",
    "bison": "bison",
    "aircraft": "aircraft",
    "ox": "oxen",
}

# base: (third person, -ing, past, past participle)
_VERBS = {
    "be": ("is", "being", "was", "been"),
    "bite": ("bites", "biting", "bit", "bitten"),
    "blow": ("blows", "blowing", "blew", "blown"),
    "break": ("breaks", "breaking", "broke", "broken"),
    "build": ("builds", "building", "built", "built"),
    "buy": ("buys", "buying", "bought", "bought"),
    "catch": ("catches", "catching", "caught", "caught"),
    "come": ("comes", "coming", "came", "come"),
    "cut": ("cuts", "cutting", "cut", "cut"),
    "draw": ("draws", "drawing", "drew", "drawn"),
    "drink": ("drinks", "drinking", "drank", "drunk"),
    "drive": ("drives", "driving", "drove", "driven"),
    "eat": ("eats", "eating", "ate", "eaten"),
    "fall": ("falls", "falling", "fell", "fallen"),
    "feed": ("feeds", "feeding", "fed", "fed"),
    "fight": ("fights", "fighting", "fought", "fought"),
    "fly": ("flies", "flying", "flew", "flown"),
    "get": ("gets", "getting", "got", "gotten"),
    "go": ("goes", "going", "went", "gone"),
    "hang": ("hangs", "hanging", "hung", "hung"),
    "have": ("has", "having", "had", "had"),
    "hide": ("hides", "hiding", "hid", "hidden"),
    "hit": ("hits", "hitting", "hit", "hit"),
    "hold": ("holds", "holding", "held", "held"),
    "kneel": ("kneels", "kneeling", "knelt", "knelt"),
    "lead": ("leads", "leading", "led", "led"),
    "leave": ("leaves", "leaving", "left", "left"),
    "lie": ("lies", "lying", "lay", "lain"),
    "lay": ("lays", "laying", "laid", "laid"),
    "make": ("makes", "making", "made", "made"),
    "put": ("puts", "putting", "put", "put"),
    "read": ("reads", "reading", "read", "read"),
    "ride": ("rides", "riding", "rode", "ridden"),
    "run": ("runs", "running", "ran", "run"),
    "sell": ("sells", "selling", "sold", "sold"),
    "show": ("shows", "showing", "showed", "shown"),
    "sing": ("sings", "singing", "sang", "sung"),
    "sit": ("sits", "sitting", "sat", "sat"),
    "sleep": ("sleeps", "sleeping", "slept", "slept"),
    "speak": ("speaks", "speaking", "spoke", "spoken"),
    "stand": ("stands", "standing", "stood", "stood"),
    "steal": ("steals", "stealing", "stole", "stolen"),
    "swim": ("swims", "swimming", "swam", "swum"),
    "swing": ("swings", "swinging", "swung", "swung"),
    "take": ("takes", "taking", "took", "taken"),
    "tear": ("tears", "tearing", "tore", "torn"),
    "throw": ("throws", "throwing", "threw", "thrown"),
    "wear": ("wears", "wearing", "wore", "worn"),
    "write": ("writes", "writing", "wrote", "written"),
}

# Last letter doubles before -ing and -ed; by list, since stress decides and spelling does not show it.
_DOUBLING = frozenset(
    verb
    for line in (
        "bat chat chop dig drag drop flip grab hop hug jog nap pat pet rub",
        "skip slip snap spin squat step stop tap trot",
    )
    for verb in line.split()
)

_TAGS = ("VB", "VBZ", "VBG", "VBD", "VBN")

_A_BEFORE_VOWEL = (
    "eu",
    "ewe",
    "once",
    "one-",
    "ubiq",
    "ufo",
    "uk",
    "uni",
    "ura",
    "uri",
    "usa",
    "use",
    "usu",
    "ute",
    "uti",
)
_AN_DESPITE_UNI = ("unid", "unil", "unim", "unin")
_AN_BEFORE_CONSONANT = ("heir", "honest", "honor", "honour", "hour")
_LETTERS_WITH_AN = frozenset("AEFHILMNORSX")


def plural(noun: str) -> str:
    """The plural of a noun or of a compound, whose last word is inflected.

    >>> plural("woman"), plural("fire hydrant"), plural("bench")
    ('women', 'fire hydrants', 'benches')
    """
    before, space, word = noun.rpartition(" ")
    return before + space + _plural_word(word)


def _plural_word(word: str) -> str:
    if word in _PLURALS:
        return _PLURALS[word]
    for ending in ("woman", "man", "child", "fish", "shelf"):
        if word.endswith(ending) and word not in ("human", "german"):
            return word[: -len(ending)] + _PLURALS.get(ending, ending)
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def verb_forms(verb: str) -> dict[str, str]:
    """The forms of a verb by Penn tag; of a phrase ("look at") the first word is inflected.

    >>> verb_forms("push")["VBG"], verb_forms("look at")["VBZ"], verb_forms("throw")["VBN"]
    ('pushing', 'looks at', 'thrown')
    """
    word, space, rest = verb.partition(" ")
    third, gerund, past, participle = _VERBS.get(word) or _regular(word)
    forms = (word, third, gerund, past, participle)
    return {tag: form + space + rest for tag, form in zip(_TAGS, forms, strict=True)}


def _regular(verb: str) -> tuple[str, str, str, str]:
    third = _plural_word(verb) if not verb.endswith("o") else verb + "es"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return third, verb[:-1] + "ing", verb + "d", verb + "d"
    if verb.endswith("e"):
        return third, verb + "ing", verb + "d", verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return third, verb + "ing", verb[:-1] + "ied", verb[:-1] + "ied"
    stem = verb + verb[-1] if verb in _DOUBLING else verb
    return third, stem + "ing", stem + "ed", stem + "ed"


def article(word: str) -> str:
    """The indefinite article that a word wants before it.

    Args:
        word: As written; a short word in capitals is read letter by letter ("an SUV").

    >>> [article(word) for word in ("orange", "red", "hour", "university", "one", "umbrella", "SUV", "8")]
    ['an', 'a', 'an', 'a', 'a', 'an', 'an', 'an']
    """
    if 1 < len(word) <= 3 and word.isupper():
        return "an" if word[0] in _LETTERS_WITH_AN else "a"
    lower = word.lower()
    first = lower[:1]
    if first in "aeiou" and first:
        vowel = lower != "one" and (not lower.startswith(_A_BEFORE_VOWEL) or lower.startswith(_AN_DESPITE_UNI))
        return "an" if vowel else "a"
    if first == "8" or lower in ("11", "18") or lower.startswith(("11th", "18th")):
        return "an"
    return "an" if lower.startswith(_AN_BEFORE_CONSONANT) or lower.startswith("x-") else "a"
