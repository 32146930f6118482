import pytest

from lightning_cr.negatives.text.inflection import article, plural, verb_forms


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("orange", "an"), ("red", "a"), ("hour", "an"), ("honest", "an"), ("house", "a"), ("university", "a"),
        ("uniform", "a"), ("unidentified", "an"), ("one", "a"), ("one-way", "a"), ("onion", "an"), ("European", "a"),
        ("umbrella", "an"), ("utensil", "a"), ("urinal", "a"), ("used", "a"), ("ugly", "an"), ("SUV", "an"),
        ("TV", "a"),        ("8", "an"), ("18", "an"), ("80s", "an"), ("5", "a"), ("x-ray", "an"),
        ("eye", "an"), ("",  "a"),
    ],
)  # fmt: skip
def test_article(word, expected):
    assert article(word) == expected


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("man", "men"), ("policeman", "policemen"), ("woman", "women"), ("human", "humans"), ("child", "children"),
        ("person", "people"), ("mouse", "mice"), ("sheep", "sheep"), ("bench", "benches"), ("box", "boxes"),
        ("baby", "babies"), ("toy", "toys"), ("knife", "knives"), ("bookshelf", "bookshelves"), ("potato", "potatoes"),
        ("fire hydrant", "fire hydrants"), ("teddy bear", "teddy bears"), ("toothbrush", "toothbrushes"),
    ],
)  # fmt: skip
def test_plural(one, many):
    assert plural(one) == many


@pytest.mark.parametrize(
    ("verb", "third", "gerund", "past", "participle"),
    [
        ("ride", "rides", "riding", "rode", "ridden"),
        ("carry", "carries", "carrying", "carried", "carried"),
        ("drop", "drops", "dropping", "dropped", "dropped"),
        ("wash", "washes", "washing", "washed", "washed"),
        ("lie", "lies", "lying", "lay", "lain"),
        ("step on", "steps on", "stepping on", "stepped on", "stepped on"),
        ("play", "plays", "playing", "played", "played"),
        ("ski", "skis", "skiing", "skied", "skied"),
    ],
)
def test_verb_forms(verb, third, gerund, past, participle):
    assert verb_forms(verb) == {"VB": verb, "VBZ": third, "VBG": gerund, "VBD": past, "VBN": participle}
