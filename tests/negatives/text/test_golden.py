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

from lightning_cr.negatives.text import ConcretePlant, TextNegatives
from tests.negatives.text.corpora import QUALITIES, RULES, VARIED, made_of

GOLDEN = Path(__file__).with_name("golden.json")
RENEW = "python -m tests.negatives.text.test_golden"
NORMS = "Word\tConc.M\ncat\t4.86\ndog\t4.85\nhorse\t5\nred\t4.24\nblue\t4.14\nbench\t4.82\nnear\t2.7\nunder\t3.4\n"


def found():
    """Of each rule, plain and learned, how many negatives it makes and their digest."""
    with tempfile.TemporaryDirectory() as folder:
        norms = Path(folder) / "norms.tsv"
        norms.write_text(NORMS, encoding="utf-8")
        door = TextNegatives(rules=made_of() | {"plant": ConcretePlant(norms=str(norms))}, cache=folder)
        report = {kind: {} for kind in door.kinds}
        for way in ("plain", "learned"):
            corpus = door.annotate(VARIED + QUALITIES)
            if way == "learned":
                door.learn(corpus)
            made = [door(corpus[seed], random.Random(seed)) for seed in range(len(VARIED))]
            for kind, negatives in zip(door.kinds, zip(*made, strict=True), strict=True):
                said = json.dumps([None if negative is None else negative.text for negative in negatives])
                count = sum(negative is not None for negative in negatives)
                report[kind][way] = f"{count} {hashlib.sha256(said.encode()).hexdigest()}"
    return report


@pytest.fixture(scope="module")
def now():
    return found()


@pytest.mark.parametrize("kind", list(RULES))
def test_negatives_are_those_that_were_written_down(now, kind):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    said = f"{kind} makes other negatives: now {json.dumps(now[kind])}; if that is on purpose, run: {RENEW}"
    assert now[kind] == golden.get(kind), said


def test_every_rule_makes_some(now):
    assert list(json.loads(GOLDEN.read_text(encoding="utf-8"))) == list(now), f"run: {RENEW}"
    assert min(int(text.split()[0]) for ways in now.values() for text in ways.values()) >= 10
    assert len(set(VARIED)) >= 150


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(found(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {GOLDEN.name}: {GOLDEN.read_text(encoding='utf-8')}")
