"""Small corpora and the rules that learn from them, for the tests of what is learned, kept and drawn."""

from lightning_cr.negatives.text import (
    AddAttribute,
    AddObject,
    ConcretePlant,
    ReplaceAttribute,
    ReplaceObject,
    ReplaceRelation,
    ShuffleWords,
    SwapAttributes,
    SwapNounPhrases,
    SwapObjects,
    TextNegatives,
)

RULES = {
    "swap_obj": SwapObjects,
    "swap_att": SwapAttributes,
    "swap_np": SwapNounPhrases,
    "add_obj": AddObject,
    "add_att": AddAttribute,
    "shuffle": ShuffleWords,
    "replace_att": ReplaceAttribute,
    "replace_obj": ReplaceObject,
    "replace_rel": ReplaceRelation,
    "plant": ConcretePlant,
}
AHNPL = ("swap_obj", "swap_att", "replace_att", "replace_obj", "replace_rel")
PATTERNS = """
A {c} {a} sitting on a {d} {f}.
A {a} and a {b} standing next to a {c} {v}
Two {a}s are lying under a {f} in a {d} room.
The {c} {v} is parked in front of a {d} building.
A man riding a {c} bike down a street near a {v}.
A woman in a {c} shirt holding a {d} umbrella.
A small {a} is looking at a large {b} behind a fence.
Three people are walking with a {a} on the beach!
An old {c} {v} drives past an orange {v2}.
A kitchen with a {c} refrigerator, a {d} table and a wooden {f}.
A {d} {a} jumping over a {c} {f}
There is a {b} on top of the {v} and a {a} under it.
A young boy throws a {c} ball to a brown {a}.
A bathroom with a {d} sink and a {c} towel.
A plate of pizza sits beside a {c} cup on the {f}.
A girl is wearing a {c} hat while feeding a {b}.
A group of 4 {a}s stand in a grassy field.
An elephant walks behind a {a} by an open {d} gate.
A {c} and {d} {v} next to a {b}
A TALL {a} IN A {c} FIELD WITH A {b}
""".strip().splitlines()
VARIED = [
    pattern.format(
        a=("cat", "dog", "horse", "cow", "sheep", "zebra")[(n + 2 * turn) % 6],
        b=("bird", "bear", "giraffe", "elephant", "dog")[(n + turn) % 5],
        c=("red", "blue", "green", "white", "yellow", "black", "pink")[(n + turn) % 7],
        d=("small", "wooden", "large", "brown", "gray", "metal")[(n * turn + turn) % 6],
        f=("chair", "bench", "couch", "bed", "table")[(n + 3 * turn) % 5],
        v=("car", "bus", "truck", "boat", "train")[(2 * n + turn) % 5],
        v2=("bus", "truck", "boat", "train", "car")[(2 * n + turn) % 5],
    )
    for turn in range(10)
    for n, pattern in enumerate(PATTERNS)
]
OFTEN = ("cat", "dog", "horse", "cow", "bird", "car", "bus", "truck", "bench", "table")
QUALITIES = [  # so that a rule can learn which qualities things may have and need not have
    f"A {word}{thing} {link} a {other}."
    for n, thing in enumerate(OFTEN)
    for other in OFTEN[n + 1 :]
    for link in ("near", "behind", "on top of")
    for word in ("", "", "", "", "red ", "small ", "black ")
]
SITES = ["barn", "house", "church", "bridge", "river", "lake", "tree", "fence", "wall", "road", "market", "school"]
THINGS = ["dog", "cat", "horse", "cow", "sheep", "bird", "boy", "girl", "man", "woman"]
PLACES = [
    f"A {colour} {thing} {link} a {size} {place} near two {other}s."
    for n, (thing, other) in enumerate(zip(THINGS * 24, ["bench", "car", "bus", "chair"] * 60, strict=True))
    for colour in (("red", "brown", "white", "black")[n % 4],)
    for size in (("small", "large", "wooden")[n % 3],)
    for place in (SITES[n % 12],)
    for link in (("under", "on top of", "behind", "standing in front of")[n // 2 % 4],)
]


def made_of(names=RULES):
    """New rules by their slots."""
    return {name: RULES[name]() for name in names}


def learned(rules, cache, texts, **options):
    """A door whose rules have learned from a corpus that is kept in a folder, and the corpus."""
    door = TextNegatives(rules=rules, cache=str(cache), **options)
    corpus = door.annotate(texts)
    door.learn(corpus)
    return door, corpus
