"""The negatives of these captions are the same on every machine, under every hash seed: a digest says so.

Where a rule or the lexicon was changed on purpose, renew the digests (and commit golden.json with the change) by

    python -m tests.negatives.text.test_golden
"""

import hashlib
import json
import random
import tempfile
from pathlib import Path

import pytest

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

GOLDEN = Path(__file__).with_name("golden.json")
RENEW = "python -m tests.negatives.text.test_golden"
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
CAPTIONS = [
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
THINGS = ("cat", "dog", "horse", "cow", "bird", "car", "bus", "truck", "bench", "table")
MORE = [  # so that a rule can learn which qualities things may have and need not have
    f"A {word}{thing} {link} a {other}."
    for n, thing in enumerate(THINGS)
    for other in THINGS[n + 1 :]
    for link in ("near", "behind", "on top of")
    for word in ("", "", "", "", "red ", "small ", "black ")
]
NORMS = "Word\tConc.M\ncat\t4.86\ndog\t4.85\nhorse\t5\nred\t4.24\nblue\t4.14\nbench\t4.82\nnear\t2.7\nunder\t3.4\n"


def rules(norms):
    return {
        "swap_obj": SwapObjects(),
        "swap_att": SwapAttributes(),
        "swap_np": SwapNounPhrases(),
        "add_obj": AddObject(),
        "add_att": AddAttribute(),
        "shuffle": ShuffleWords(),
        "replace_att": ReplaceAttribute(),
        "replace_obj": ReplaceObject(),
        "replace_rel": ReplaceRelation(),
        "plant": ConcretePlant(norms=norms),
    }


def found():
    """Of each rule, plain and learned, how many negatives it makes and their digest."""
    with tempfile.TemporaryDirectory() as folder:
        norms = Path(folder) / "norms.tsv"
        norms.write_text(NORMS, encoding="utf-8")
        door = TextNegatives(rules=rules(str(norms)), cache=folder)
        report = {kind: {} for kind in door.kinds}
        for way in ("plain", "learned"):
            corpus = door.annotate(CAPTIONS + MORE)
            if way == "learned":
                door.learn(corpus)
            made = [door(corpus[seed], random.Random(seed)) for seed in range(len(CAPTIONS))]
            for kind, negatives in zip(door.kinds, zip(*made, strict=True), strict=True):
                said = json.dumps([None if negative is None else negative.text for negative in negatives])
                count = sum(negative is not None for negative in negatives)
                report[kind][way] = f"{count} {hashlib.sha256(said.encode()).hexdigest()}"
    return report


@pytest.fixture(scope="module")
def now():
    return found()


@pytest.mark.parametrize("kind", list(rules(__file__)))
def test_negatives_are_those_that_were_written_down(now, kind):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    said = f"{kind} makes other negatives: now {json.dumps(now[kind])}; if that is on purpose, run: {RENEW}"
    assert now[kind] == golden.get(kind), said


def test_every_rule_makes_some(now):
    assert list(json.loads(GOLDEN.read_text(encoding="utf-8"))) == list(now), f"run: {RENEW}"
    assert min(int(text.split()[0]) for ways in now.values() for text in ways.values()) >= 10
    assert len(set(CAPTIONS)) >= 150


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(found(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {GOLDEN.name}: {GOLDEN.read_text(encoding='utf-8')}")
