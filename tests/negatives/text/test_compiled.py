"""Edits that were weighed once are drawn as those that are weighed at each draw, bit for bit, and are found again."""

import json
import os
import pickle
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from lightning_cr.negatives.text import (
    AddAttribute,
    AddObject,
    AnnotatedCaption,
    ConcretePlant,
    Negative,
    ShuffleWords,
    SwapObjects,
    TextNegatives,
    TextRule,
    annotation,
    compiled,
)
from lightning_cr.negatives.text.drawing import WHOLE, drawn, enough, shares
from lightning_cr.negatives.text.offers import ByOffer, Offered, Offers
from tests.negatives.text.corpora import PLACES, QUALITIES, VARIED, learned, made_of

DATA = Path(os.environ.get("LIGHTNING_CR_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
KARPATHY = DATA / "retrieval/coco_karpathy_test.json"
ODD = [
    "",
    "cat",
    "A very " + "red " * 90 + "cat on a mat",
    "A caf\xe9 \U0001f600 dog near \ud800 a red cat.",
    "A DOG ON A CAT",
]
CAPTIONS = [*VARIED, *ODD, *PLACES, *QUALITIES]
SETTLED = ("swap_obj", "swap_att", "swap_np", "replace_att", "replace_obj", "replace_rel", "add_obj", "add_att")
NORMS = "Word\tConc.M\ncat\t4.86\ndog\t4.86\nbench\t4.86\nred\t4.24\nsmall\t3.2\nnear\t2.7\nbehind\t2.7\ncar\t4.8\n"
PLANTS = [{"pick": "max"}, {"pick": "min"}, {"pick": "random"}, {"pick": "softmax"}]
PLANTS += [{"pick": "softmax", "temperature": 1e-310}, {"concepts": ["relation"]}]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(annotation, "_SHARD", 300)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """A folder with the annotation and what the settled rules have learned, to start from."""
    folder = tmp_path_factory.mktemp("annotated")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(annotation, "_SHARD", 300)
        learned(made_of(SETTLED), folder, CAPTIONS)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def cache(annotated, tmp_path):
    for name, content in annotated.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def both(rules, cache, workers=0, texts=CAPTIONS, **options):
    """A door that looks up, one that weighs at each draw, and their corpus."""
    direct, corpus = learned(rules, cache, texts, **options)
    quick, _ = learned(rules, cache, texts, **options)
    quick.compile(workers)
    return quick, direct, corpus


def made(door, corpus, seeds=1, accept=None):
    return [
        door(corpus[at], random.Random(f"{seed}/{at}"), accept) for seed in range(seeds) for at in range(len(corpus))
    ]


def contents(cache):
    return {path.name: path.read_bytes() for path in cache.glob("*.compiled")}


def assert_alike(quick, direct, corpus, seeds=2):
    """The same negatives, and the generator is left in the same state; how many, and how many different ones."""
    count, different = 0, set()
    for at in range(len(corpus)):
        for seed in range(seeds):
            one, other = random.Random(f"{seed}/{at}"), random.Random(f"{seed}/{at}")
            found = quick(corpus[at], one)
            assert found == direct(corpus[at], other), corpus[at].text
            assert one.getstate() == other.getstate(), corpus[at].text
            count += sum(negative is not None for negative in found)
            different.update(found)
    return count, len(different)


def refuse(*args):
    pytest.fail("weighed again")


def test_the_same_negatives_in_every_field(cache):
    quick, direct, corpus = both(made_of(SETTLED), cache)
    expected = made(direct, corpus, seeds=8)
    assert made(quick, corpus, seeds=8) == expected
    count = Counter(negative.kind for row in expected for negative in row if negative)
    assert set(count) == set(SETTLED)
    assert min(count.values()) > 100, count
    assert len({negative for row in expected for negative in row}) > 2000
    assert len(contents(cache)) == len(SETTLED) * len(corpus.paths)
    assert not list(cache.glob("*.tmp"))


@pytest.mark.skipif(not KARPATHY.is_file(), reason=f"no captions at {KARPATHY}; set LIGHTNING_CR_TEST_DATA")
def test_the_same_negatives_of_real_captions(tmp_path):
    texts = [text for row in json.loads(KARPATHY.read_text())[:160] for text in row["caption"]]
    quick, direct, corpus = both(made_of(SETTLED), tmp_path, texts=texts)
    assert made(quick, corpus, seeds=4) == made(direct, corpus, seeds=4)


def test_nothing_is_weighed_nor_read_at_a_draw(cache, monkeypatch):
    quick, _, corpus = both(made_of(SETTLED), cache)
    monkeypatch.setattr(SwapObjects, "choices", refuse)
    for rule in made_of(SETTLED).values():
        monkeypatch.setattr(type(rule), "__call__", refuse)
    monkeypatch.setattr(type(corpus[0]), "tokens", property(refuse))
    assert any(made(quick, corpus)[0])


def test_what_the_source_refuses_and_ratings_and_longest_captions(cache, tmp_path_factory):
    norms = tmp_path_factory.mktemp("norms") / "norms.tsv"
    norms.write_text("Word\tConc.M\ncat\t4.86\ndog\t4.85\nred\t4.24\nnear\t2.7\n", encoding="utf-8")

    def accept(text):
        return hash_of(text) % 3 == 0

    def hash_of(text):
        return sum(map(ord, text))

    quick, direct, corpus = both(made_of(SETTLED), cache, norms=str(norms), max_words=9)
    expected = made(direct, corpus, 2, accept)
    assert made(quick, corpus, 2, accept) == expected
    assert expected != made(direct, corpus, 2)
    assert any(negative and negative.concreteness for row in expected for negative in row)
    longest = max(range(len(corpus)), key=lambda at: len(corpus[at].tokens))
    assert quick(corpus[longest], random.Random(0)) == [None] * len(SETTLED)


def test_workers_write_the_same_bytes(cache):
    both(made_of(SETTLED), cache)
    alone = contents(cache)
    for path in cache.glob("*.compiled"):
        path.unlink()
    quick, direct, corpus = both(made_of(SETTLED), cache, workers=2)
    assert contents(cache) == alone
    assert made(quick, corpus) == made(direct, corpus)


def test_a_second_start_finds_them_and_a_copy_maps_them(cache, monkeypatch):
    first, _, corpus = both(made_of(SETTLED), cache)
    before = {path: path.stat().st_mtime_ns for path in cache.glob("*.compiled")}
    expected = made(first, corpus)
    told = []
    monkeypatch.setattr(compiled, "_write", refuse)
    again, _ = learned(made_of(SETTLED), cache, CAPTIONS)
    again.compile(progress=lambda *counts: told.append(counts))
    everything = len(SETTLED) * len(corpus)
    assert told == [(everything, everything)]
    assert {path: path.stat().st_mtime_ns for path in cache.glob("*.compiled")} == before
    assert made(again, corpus) == expected
    packed = pickle.dumps(again._compiled)
    assert len(packed) < 10_000
    copied = pickle.loads(pickle.dumps(again))
    assert made(copied, pickle.loads(pickle.dumps(corpus))) == expected


@pytest.mark.parametrize("how", ["cut", "empty", "flipped", "foreign"])
def test_a_damaged_file_is_made_anew_with_a_warning(cache, caplog, how):
    quick, _, corpus = both(made_of(SETTLED), cache)
    before = contents(cache)
    expected = made(quick, corpus)
    del quick
    name = min(before)
    data = before[name]
    flipped = data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]
    spoilt = {"cut": data[: len(data) // 2], "empty": b"", "flipped": flipped, "foreign": b"hello\n"}
    (cache / name).unlink()
    (cache / name).write_bytes(spoilt[how])
    again, _ = learned(made_of(SETTLED), cache, CAPTIONS)
    again.compile()
    assert [record.getMessage() for record in caplog.records if "weighed anew" in record.getMessage()]
    assert contents(cache) == before
    assert made(again, corpus) == expected


def test_a_run_that_is_killed_goes_on_where_it_stopped(cache):
    code = (
        "import os, sys\n"
        "from lightning_cr.negatives.text import annotation\n"
        "annotation._SHARD = 300\n"
        "from tests.negatives.text.test_compiled import CAPTIONS, SETTLED, learned, made_of\n"
        "door, _ = learned(made_of(SETTLED), sys.argv[1], CAPTIONS)\n"
        "door.compile(progress=lambda done, total: os._exit(9) if done >= 600 else None)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(cache)], check=False).returncode == 9
    before = {path: path.stat().st_mtime_ns for path in cache.glob("*.compiled")}
    assert len(before) == 2
    quick, direct, corpus = both(made_of(SETTLED), cache)
    assert before.items() <= {path: path.stat().st_mtime_ns for path in cache.glob("*.compiled")}.items()
    assert made(quick, corpus) == made(direct, corpus)


@pytest.mark.parametrize("kind", SETTLED)
def test_each_rule_alone_leaves_the_generator_as_a_direct_draw_does(cache, kind):
    count, different = assert_alike(*both(made_of([kind]), cache))
    assert count > 200
    assert different > 80
    assert len(contents(cache)) == len(list(cache.glob("*.arrow")))


@pytest.mark.parametrize("options", PLANTS, ids=str)
def test_whatever_concrete_plant_picks(cache, tmp_path_factory, options):
    norms = tmp_path_factory.mktemp("norms") / "norms.tsv"
    norms.write_text(NORMS, encoding="utf-8")
    rule, workers = ConcretePlant(norms=str(norms), **options), 2 if options == {"pick": "softmax"} else 0
    quick, direct, corpus = both({"plant": rule}, cache, workers)
    count, different = assert_alike(quick, direct, corpus)
    assert count > 1000
    assert different > 500
    ratings = {negative.concreteness for row in made(quick, corpus) for negative in row if negative}
    assert None in ratings
    assert len(ratings) > 1
    if workers:
        others = contents(cache)
        for path in cache.glob("*.compiled"):
            path.unlink()
        quick.compile()
        assert contents(cache) == others
    copied = pickle.loads(pickle.dumps(quick))
    assert_alike(copied, direct, pickle.loads(pickle.dumps(corpus)), seeds=1)
    for rule in quick.rules.values():
        rule.choices = refuse
        rule.candidates = refuse
    assert any(made(quick, corpus)[0])


def test_what_draws_otherwise_stays_as_it_is(cache):
    rules = {"add": AddAttribute(), "swap": SwapObjects(), "shuffle": ShuffleWords()}
    assert [compiled.is_settled(rule) for rule in rules.values()] == [False, True, False], "nothing is learned yet"
    quick, direct, corpus = both(rules, cache)
    assert [compiled.is_settled(rule) for rule in quick.rules.values()] == [True, True, False]
    assert_alike(quick, direct, corpus, seeds=1)
    assert len(contents(cache)) == 2 * len(corpus.paths)


def test_additions_of_which_a_corpus_says_nothing_are_drawn_as_before(tmp_path, caplog):
    rules = {"add_obj": AddObject(), "add_att": AddAttribute()}
    quick, direct, corpus = both(rules, tmp_path, texts=["A dog.", "Cats sleep", "A dog in it."] * 40)
    assert not compiled.is_settled(quick.rules["add_obj"]), "no thing follows another"
    assert_alike(quick, direct, corpus)
    assert not caplog.records


class Own(SwapObjects):
    """A user's rule, which need not be settled though what it is made from is."""


class Shouts(TextRule):
    """A user's rule that is settled."""

    settled = True

    def choices(self, caption, kind, rng):
        return [WHOLE], [Negative(caption.text.upper() + "!", kind, "", "", 0, len(caption.text), 0.25)]

    def __call__(self, caption, kind, rng):
        return self.choices(caption, kind, rng)[1][drawn([WHOLE], rng)]


class Claims(SwapObjects):
    """A rule that says it is settled, and is not."""

    settled = True

    def edits(self, reading, rng):
        found = list(super().edits(reading, rng))
        return rng.sample(found, min(len(found), 1))


class Miscounts(SwapObjects):
    """A rule that says it is settled, and has other shares than negatives."""

    settled = True

    def choices(self, caption, kind, rng):
        return [WHOLE], []


class Forgets(TextRule):
    """A rule that says it is settled, and cannot say what it may make."""

    settled = True

    def __call__(self, caption, kind, rng):
        return Negative(caption.text.upper() + "!", kind, "", "", 0, len(caption.text))


def test_users_rules(tmp_path, caplog):
    assert not compiled.is_settled(Own())
    quick, direct, corpus = both({"own": Own(), "shouts": Shouts()}, tmp_path)
    assert made(quick, corpus) == made(direct, corpus)
    assert len(contents(tmp_path)) == len(corpus.paths)
    assert not caplog.records
    for rule, said in (
        (Claims(), "a rule that says it is settled asks for randomness"),
        (Miscounts(), "there are 1 shares and 0 negatives"),
        (Forgets(), "'Forgets' object has no attribute 'choices'"),
    ):
        quick, direct, corpus = both({"slot": rule}, tmp_path / "claims")
        assert said in caplog.text
        assert made(quick, corpus) == made(direct, corpus)


def test_a_folder_that_cannot_be_written_to_is_no_hindrance(cache, monkeypatch, caplog):
    def full(path, pieces):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiled, "write_pieces", full)
    quick, direct, corpus = both(made_of(SETTLED), cache)
    assert "No space left on device" in caplog.text
    assert "at each draw" in caplog.text
    assert made(quick, corpus) == made(direct, corpus)


def test_only_captions_of_the_corpus_are_looked_up(cache, tmp_path_factory):
    quick, direct, corpus = both(made_of(SETTLED), cache)
    texts = [text for text in CAPTIONS if "\ud800" not in text]
    assert [quick(text, random.Random(0)) for text in texts] == [direct(text, random.Random(0)) for text in texts]
    other = quick.annotate(list(reversed(CAPTIONS)))
    assert made(quick, other) == made(direct, other)
    # what was weighed for one corpus is forgotten when another is learned from
    quick.learn(other)
    direct.learn(other)
    assert made(quick, corpus) == made(direct, corpus)


def test_without_a_corpus_on_disk_there_is_nothing_to_keep(tmp_path):
    door = TextNegatives(rules=made_of(SETTLED), cache=str(tmp_path))
    door.compile()
    door.learn([door._tag(text) for text in VARIED])
    door.compile()
    assert not list(tmp_path.iterdir())


def test_a_stored_caption_is_the_taggers(cache):
    _, corpus = learned({}, cache, CAPTIONS)
    door = TextNegatives()
    for at in (0, 5, 40):
        stored, tagged = corpus[at], door._tag(CAPTIONS[at])
        assert type(stored) is not AnnotatedCaption
        assert stored == tagged
        assert tagged == stored
        assert len({stored, tagged}) == 1
        assert stored != corpus[at + 1]
        assert stored != CAPTIONS[at]
        assert pickle.loads(pickle.dumps(stored)) == tagged
        with pytest.raises(AttributeError):
            stored.text = "other"


def test_shares():
    assert shares([], 0.5) == ([], [])
    assert shares([1.0, 3.0], 0.0) == ([0, 1], [round(WHOLE / 4), WHOLE])
    assert shares([1.0, 1e-4, 1.0], 2.0) == ([0, 2], [round(WHOLE / 4), round(WHOLE / 2)])
    assert shares([1e-4, 1e-5], 1.0) == ([], []), "beside leaving the caption alone they weigh nothing"
    assert shares([0.1] * 7, 0.0)[1][-1] == WHOLE
    kept, _ = shares([1e-6] * 5000, 0.0)
    assert len(kept) == 5000, "many light ones are as heavy as the heaviest"
    rng = random.Random(0)
    count = Counter(drawn([10_000, 10_000, 30_000], rng) for _ in range(20_000))
    assert count[1] == 0
    assert count[0] / 20_000 == pytest.approx(10_000 / WHOLE, abs=0.01)
    assert count[3] / 20_000 == pytest.approx(1 - 30_000 / WHOLE, abs=0.01)
    assert enough([0.0009, 0.001, 2.0], 1.0) == [1, 2]
    for weights in ([0.2, 1e-3, 5e-4, 3.0], [1e-4, 2e-3], [1e-9]):
        few = enough(weights, 0.5)
        kept, uppers = shares([weights[at] for at in few], 0.5)
        assert ([few[at] for at in kept], uppers) == shares(weights, 0.5), "what does not count changes nothing"
    asked = random.Random(0)
    assert drawn([], asked) == 0
    assert asked.random() == random.Random(0).random(), "nothing is asked where there is nothing"


def test_what_is_put_up_where_shares_add_up_to_less_than_one():
    offers = Offers({word: count for word, count in zip("abcdef", (9, 7, 5, 5, 3, 1), strict=True)})
    offers.sums = [0.5 * share for share in offers.sums]  # rounding leaves a little out; here it is a half
    numbers, weights, reluctance = (
        [0, 2, 5],
        [0.3, 0.0015, 2.0],
        1.0,
    )  # the second counts alone, and not beside the third
    few = Offered(offers, numbers, weights, [None] * 3)
    by_offer = ByOffer()
    by_offer.add(None)
    by_offer.add((reluctance, [few, Offered(offers, [], [], []), few]))
    count = Counter()
    for seed in range(3000):
        one, other = random.Random(seed), random.Random(seed)
        up = [(place, number) for place in range(3) for number in offers.draw(one)]
        those = [3 * (place // 2) + numbers.index(number) for place, number in up if place != 1 and number in numbers]
        kept, uppers = shares([weights[at % 3] for at in those], reluctance)
        at = drawn(uppers, one)
        expected = those[kept[at]] if at < len(kept) else -1
        assert by_offer.draw(1, other) == expected
        assert one.getstate() == other.getstate()
        count[expected] += 1
    assert set(count) >= {-1, 0, 2, 3, 5}
    assert by_offer.draw(0, random.Random(0)) == -1
