"""Scores on hand-made similarities with ties, and the embedded world's benchmark on embeddings that are known."""

import json

import pytest
import torch

from lightning_cr.benchmarks import HeldOutRetrieval, ImagePairs, ScenesBenchmark, SugarCrepePP, retrieval
from lightning_cr.benchmarks.base import Embedded, Judged, Score, Scoring, Similarity
from lightning_cr.benchmarks.pairs import winoground
from lightning_cr.benchmarks.sugarcrepe import SEVEN
from lightning_cr.benchmarks.suite import EncodeItems, Suite
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError

PREPROCESS = Preprocess(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def scored(benchmark, image, text):
    return benchmark.score(benchmark.judge(Embedded(image, text)))


class Table(Similarity):
    """Hand-made similarities."""

    def __init__(self, values):
        self.values = torch.as_tensor(values)

    def between(self, pictures, captions):
        return self.values[pictures, captions]


def test_a_tie_counts_what_is_asked_for():
    margin = torch.tensor([0.1, 0.0, -0.1, 0.8, torch.nan])
    judged = Judged.of({"one": margin}, {"one": torch.arange(5)})
    assert judged.right("wrong")[:4].tolist() == [1, 0, 0, 1]
    assert judged.right("right")[:4].tolist() == [1, 1, 0, 1]
    assert judged.right("half")[:4].tolist() == [1, 0.5, 0, 1]
    assert judged.right("half")[4].isnan()


def _owned(pictures, most, seed=0):
    """Vectors of a few eighths, so that ties are exact and frequent; a picture has 1 to ``most`` captions."""
    rng = torch.Generator().manual_seed(seed)
    captions = torch.randint(1, most + 1, (pictures,), generator=rng).tolist()
    owner = torch.arange(pictures).repeat_interleave(torch.tensor(captions))
    image, text = (torch.randint(-1, 2, (n, 3), generator=rng) / 8 for n in (pictures, len(owner)))
    return image, text, owner


class _Owned:
    def __init__(self, owner):
        self.pictures = int(owner.max()) + 1
        self.texts = [[f"caption {n}" for n in (owner == i).nonzero()] for i in range(self.pictures)]

    def captions(self, index):
        return self.texts[index]

    def picture(self, index):
        return index


def _naive(similarity, match, k):
    """Hits and ties, one entry after the other."""
    hits = ties = 0
    for sims, true in zip(similarity.tolist(), match.tolist(), strict=True):
        best = max(s for s, m in zip(sims, true, strict=True) if m)
        false = [s for s, m in zip(sims, true, strict=True) if not m]
        hits += sum(s >= best for s in false) < k
        ties += sorted(false, reverse=True)[k - 1 : k] == [best]
    return Score(hits / len(similarity), len(similarity), ties)


def _retrieval(image, text, owner, ks=(1, 3, 5)):
    benchmark = HeldOutRetrieval(list(ks))
    benchmark.open(None, PREPROCESS, _Owned(owner))
    return scored(benchmark, image, text)


@pytest.mark.parametrize("most", [1, 4])
@pytest.mark.parametrize("lost", [(), (0, 7, 22)])
def test_retrieval_equals_a_naive_loop_with_ties(most, lost):
    image, text, owner = _owned(23, most)
    similarity, match = image @ text.T, torch.arange(23)[:, None] == owner
    kept = torch.tensor([index not in lost for index in range(23)])
    image[~kept] = torch.nan
    similarity, match = similarity[kept][:, kept[owner]], match[kept][:, kept[owner]]
    scores = _retrieval(image, text, owner)
    for k in (1, 3, 5):
        assert scores[f"retrieval/i2t_r@{k}"] == _naive(similarity, match, k)
        assert scores[f"retrieval/t2i_r@{k}"] == _naive(similarity.T, match.T, k)
    assert sum(score.ties for score in scores.values()) > 3, "without ties this test says little"


@pytest.mark.parametrize("numbers", [1, 100, 7 * 60, 10**9])
def test_the_size_of_a_block_changes_nothing(monkeypatch, numbers):
    image, text, owner = _owned(41, 3)
    expected = _retrieval(image, text, owner)
    sizes = []

    def seen(self, pictures, captions):
        sizes.append(len(pictures) * len(captions))
        return table(self, pictures, captions)

    table = Embedded.table
    monkeypatch.setattr(Embedded, "table", seen)
    monkeypatch.setattr(retrieval, "BLOCK", numbers)
    assert _retrieval(image, text, owner) == expected
    assert max(sizes) <= max(numbers, len(text)), "a block is as small as is asked for, but for one row"
    assert sum(sizes) == 2 * len(image) * len(text)


def test_embeddings_that_are_no_number_are_an_error():
    image, text, owner = _owned(5, 2)
    with pytest.raises(DataError, match=r"nothing to score: none of its 5 pictures could be read, or the encoder"):
        _retrieval(image, torch.full_like(text, torch.nan), owner, ks=[1])


def test_fewer_items_than_k_are_all_found():
    image, text, owner = _owned(3, 1)
    assert _retrieval(image, text, owner, ks=[5])["retrieval/i2t_r@5"] == Score(1.0, 3, 0)


@pytest.mark.parametrize("ks", [[], [0, 1]])
def test_ks_are_checked(ks):
    with pytest.raises(ConfigError, match="each must be 1 or more"):
        HeldOutRetrieval(ks)


def test_winoground_is_strict_and_needs_both():
    s00, s01 = (0.9, 0.5, 0.5, 0.5), (0.1, 0.6, 0.3, 0.5)
    s10, s11 = (0.2, 0.4, 0.6, 0.5), (0.8, 0.7, 0.7, 0.5)
    # item 0 all right; 1 only text; 2 only image; 3 a tie. Pictures 2i and 2i+1, captions alike.
    values = torch.zeros(8, 8)
    for i in range(4):
        values[2 * i, 2 * i], values[2 * i + 1, 2 * i] = s00[i], s01[i]
        values[2 * i, 2 * i + 1], values[2 * i + 1, 2 * i + 1] = s10[i], s11[i]
    even = torch.arange(0, 8, 2)
    found = winoground(Table(values), even, even + 1, even, even + 1)
    signs = {name: margin.sign().int().tolist() for name, margin in found.items()}
    assert signs == {"text": [1, 1, -1, 0], "image": [1, -1, 1, 0], "group": [1, -1, -1, 0], "match": [1, 1, 1, 0]}


def _pairs(tmp_path, count):
    lines = [
        {"id": n, "caption_0": f"{n} a", "caption_1": f"{n} b", "image_0": f"{n}_0.png", "image_1": f"{n}_1.png"}
        for n in range(count)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for n in range(2 * count):
        (tmp_path / f"{n // 2}_{n % 2}.png").touch()
    return ImagePairs("pairs.jsonl")


def test_a_tie_of_several_comparisons_counts_once(tmp_path):
    """Three pairs: all level; one comparison level and the others right; one level and another wrong."""
    benchmark = _pairs(tmp_path, 3)
    benchmark.open(tmp_path, PREPROCESS, None)
    values = torch.zeros(6, 6)
    values[2:4, 2:4] = torch.tensor([[0.9, 0.5], [0.4, 0.5]])
    values[4:6, 4:6] = torch.tensor([[0.5, 0.6], [0.4, 0.6]])
    judged = benchmark.judge(Table(values))
    scores = {ties: benchmark.score(judged, Scoring(ties, 0)) for ties in ("official", "strict", "half")}
    # Pair 1: text 0.9 > 0.5 and 0.5 > 0.4: right; image 0.9 > 0.4 and 0.5 = 0.5: a tie. Pair 2: text 0.5 < 0.6: wrong;
    # image 0.5 > 0.4 and 0.6 = 0.6: a tie; both: wrong. Pair 0: level everywhere, one tie of each score.
    expected = {"text": (1 / 3, 1.5 / 3, 1), "image": (0.0, 1.5 / 3, 3), "group": (0.0, 1 / 3, 2)}
    for name, (strict, half, ties) in expected.items():
        found = [scores[rule][f"winoground/{name}"] for rule in ("official", "strict", "half")]
        assert [score.value for score in found] == pytest.approx([strict, strict, half]), name
        assert {score.ties for score in found} == {ties}, name


class _Texts(Table):
    def __init__(self, values, texts):
        super().__init__(values)
        self.texts = torch.as_tensor(texts)

    def among_captions(self, one, other):
        return self.texts[one, other]


def test_a_tie_with_one_of_two_true_captions(tmp_path):
    """SugarCrepe++: three rows of one picture, each with captions P1, P2 and N of its own."""
    for part in SEVEN[:5]:
        rows = [
            {"id": n, "filename": "1.jpg", "caption": f"{part} p{n}", "caption2": f"{part} q{n}"}
            | {"negative_caption": f"{part} n{n}"}
            for n in range(3)
        ]
        (tmp_path / f"{part}.json").write_text(json.dumps(rows))
    (tmp_path / "1.jpg").touch()
    benchmark = SugarCrepePP(str(tmp_path))
    benchmark.open(tmp_path, PREPROCESS, None)
    # s(I, P1), s(I, P2), s(I, N): one level, the other right; one level, the other wrong; both right.
    values = torch.tensor([[0.5, 0.9, 0.5, 0.5, 0.1, 0.5, 0.9, 0.8, 0.5] * 5])
    # s(P1, P2), s(P1, N), s(P2, N): level with one; level with one and below the other; above both.
    texts = torch.zeros(45, 45)
    for at in range(0, 45, 9):
        for row, (pq, pn, qn) in enumerate(((0.6, 0.6, 0.2), (0.6, 0.6, 0.7), (0.6, 0.5, 0.2))):
            p, q, n = (at + 3 * row + place for place in range(3))
            texts[p, q], texts[p, n], texts[q, n] = pq, pn, qn
    judged = benchmark.judge(_Texts(values, texts))
    for rule, value in (("official", 1 / 3), ("half", 1.5 / 3)):
        scores = benchmark.score(judged, Scoring(rule, 0))
        for way in ("itt", "tot"):
            score = scores[f"sugarcrepe++/{way} replace_rel"]
            assert (score.value, score.ties) == (pytest.approx(value), 1), (rule, way)


@pytest.fixture(scope="module")
def scenes():
    benchmark = ScenesBenchmark(n=100)
    benchmark.open(None, PREPROCESS, held_out=None)
    return benchmark


def test_random_embeddings_are_at_chance(scenes):
    torch.manual_seed(0)
    image = torch.nn.functional.normalize(torch.randn(len(scenes.pictures), 64), dim=-1)
    text = torch.nn.functional.normalize(torch.randn(len(scenes.captions), 64), dim=-1)
    scores = scored(scenes, image, text)
    assert scores["mean of 7"].value == pytest.approx(0.5, abs=0.06)
    assert scores["mean of 7"].n == 700
    assert scores["hard_positive"].value == pytest.approx(1 / 3, abs=0.06)
    assert scores["winoground/group"].value == pytest.approx(1 / 6, abs=0.12)
    assert scores["retrieval/i2t_r@1"].value < 0.05
    assert all(score.n >= 100 for score in scores.values())


def test_embeddings_that_know_the_answer_are_perfect(scenes):
    """Each caption points to the pictures it is true of, and from nothing else."""
    image = torch.eye(len(scenes.pictures))
    text = torch.zeros(len(scenes.captions), len(scenes.pictures))
    for items in (*scenes._items.values(), scenes._unseen):
        for picture, true, other, _ in items.tolist():
            text[true, picture] = text[other, picture] = 1.0
    for one, two, first, second in scenes._pairs.tolist():
        text[first, one] = text[second, two] = 1.0
    for picture, written in scenes._retrieval.tolist():
        text[written, picture] = 1.0
    scores = scored(scenes, image, text)
    for name in ("swap_obj", "replace_rel", "add_att", "winoground/group", "retrieval/i2t_r@1", "retrieval/t2i_r@1"):
        assert scores[name].value > 0.97, name  # a caption may be true of another scene's edit by chance


def test_constant_embeddings_score_zero_and_say_that_all_are_ties(scenes):
    scores = scored(scenes, torch.ones(len(scenes.pictures), 4), torch.ones(len(scenes.captions), 4))
    for name in ("replace_rel", "hard_positive", "winoground/text", "retrieval/i2t_r@1"):
        assert scores[name].value == 0.0
        assert scores[name].ties == scores[name].n


def test_the_scenes_are_the_same_every_time_and_for_every_size(scenes):
    other = ScenesBenchmark(n=100)
    other.open(None, Preprocess(64, (0.5,) * 3, (0.5,) * 3), held_out=None)
    assert other.captions == scenes.captions
    assert other.pictures == scenes.pictures
    assert other.pictures[0].pixels(Preprocess(64, (0.5,) * 3, (0.5,) * 3)).shape == (3, 64, 64)
    assert ScenesBenchmark(n=100, seed=1).seed != scenes.seed


def test_each_picture_and_caption_is_encoded_once(scenes):
    class Words:
        pad_id, shortens = 0, True

        def __call__(self, texts):
            return torch.tensor([[1] * len(t.split()) + [0] * (40 - len(t.split())) for t in texts])

    items = EncodeItems(Suite({"scenes": scenes, "again": scenes}), Words(), PREPROCESS, 64)
    chunks = [items[i] for i in range(len(items))]
    pictures = torch.cat([c.rows for c in chunks if c.images is not None])
    captions = torch.cat([c.rows for c in chunks if c.tokens is not None])
    assert sorted(pictures.tolist()) == list(range(len(scenes.pictures)))
    assert sorted(captions.tolist()) == list(range(len(scenes.captions)))
    assert len(set(scenes.captions)) == len(scenes.captions)
    longest = [c.tokens.shape[1] for c in chunks if c.tokens is not None]
    assert longest[0] < longest[-1], "short captions must not be padded to the longest"


class _HeldOut:
    pictures = 3

    def picture(self, index):
        return index

    def captions(self, index):
        return [f"picture {index}", f"photo {index}"]


def test_retrieval_on_the_held_out_split():
    benchmark = HeldOutRetrieval([1, 2])
    benchmark.open(None, PREPROCESS, _HeldOut())
    image = torch.eye(3)
    text = torch.eye(3).repeat_interleave(2, 0)
    assert scored(benchmark, image, text)["retrieval/i2t_r@1"] == Score(1.0, 3, 0)
    swapped = scored(benchmark, image[[1, 0, 2]], text)
    assert swapped["retrieval/i2t_r@1"].value == pytest.approx(1 / 3)
    assert swapped["retrieval/t2i_r@1"].n == 6


def test_a_picture_that_could_not_be_read_is_left_out_of_retrieval():
    benchmark = HeldOutRetrieval([1])
    benchmark.open(None, PREPROCESS, _HeldOut())
    image = torch.eye(3)
    image[1] = torch.nan
    text = torch.eye(3).repeat_interleave(2, 0)
    text[4] = text[2]  # nearest to the lost picture, level with both others: found by none
    scores = scored(benchmark, image, text)
    assert scores["retrieval/i2t_r@1"] == Score(1.0, 2, 0)
    assert scores["retrieval/t2i_r@1"] == Score(0.75, 4, 1)


def test_no_readable_held_out_picture_is_said():
    benchmark = HeldOutRetrieval([1])
    benchmark.open(None, PREPROCESS, _HeldOut())
    with pytest.raises(DataError, match=r"none of its 3 pictures .*data\.benchmarks") as caught:
        scored(benchmark, torch.full((3, 3), torch.nan), torch.eye(3).repeat_interleave(2, 0))
    assert "\n" not in str(caught.value)


def test_no_held_out_split_is_said():
    empty = _HeldOut()
    empty.pictures = 0
    with pytest.raises(DataError, match=r"captions_val20XX\.json"):
        HeldOutRetrieval().open(None, PREPROCESS, empty)
