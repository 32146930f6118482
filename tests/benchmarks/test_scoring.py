"""Scores on hand-made similarities with ties, and the embedded world's benchmark on embeddings that are known."""

import random

import pytest
import torch

from lightning_cr.benchmarks import HeldOutRetrieval, ScenesBenchmark, retrieval
from lightning_cr.benchmarks.base import EncodeItems, Score, preferred
from lightning_cr.benchmarks.retrieval import recall
from lightning_cr.benchmarks.scenes import winoground
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import DataError

PREPROCESS = Preprocess(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_ties_are_wrong_and_counted():
    true = torch.tensor([0.5, 0.5, 0.4, 0.9])
    false = torch.tensor([0.4, 0.5, 0.5, 0.1])
    assert preferred(true, false) == Score(0.5, 4, 1)
    assert preferred(true, false, torch.full((4,), 0.6)) == Score(0.25, 4, 0)


def test_recall_equals_a_naive_loop():
    rng = random.Random(0)
    for _ in range(20):
        rows, columns = 5, 9
        sim = torch.tensor([[rng.choice([0.1, 0.2, 0.3]) for _ in range(columns)] for _ in range(rows)])
        match = torch.zeros(rows, columns, dtype=torch.bool)
        for column in range(columns):
            match[rng.randrange(rows), column] = True
        match[:, 0] |= ~match.any(1)
        for k in (1, 2, 5):
            hits = 0
            for row in range(rows):
                best = max(float(sim[row, c]) for c in range(columns) if match[row, c])
                ahead = sum(float(sim[row, c]) >= best for c in range(columns) if not match[row, c])
                ahead += sum(float(sim[row, c]) > best for c in range(columns) if match[row, c])
                hits += ahead < k
            assert recall(sim, match, k).value == pytest.approx(hits / rows)


def _owned(pictures, most, seed=0):
    """Vectors of a few eighths, so that ties are exact and frequent; a picture has 1 to ``most`` captions."""
    rng = torch.Generator().manual_seed(seed)
    captions = torch.randint(1, most + 1, (pictures,), generator=rng).tolist()
    owner = torch.arange(pictures).repeat_interleave(torch.tensor(captions))
    image, text = (torch.randint(-2, 3, (n, 3), generator=rng) / 8 for n in (pictures, len(owner)))
    return image, text, owner


class _Owned:
    def __init__(self, owner):
        self.pictures = int(owner.max()) + 1
        self.texts = [[f"caption {n}" for n in (owner == i).nonzero()] for i in range(self.pictures)]

    def captions(self, index):
        return self.texts[index]


def _naive(similarity, match, k):
    """Hits and ties, one entry after the other."""
    hits = ties = 0
    for sims, true in zip(similarity.tolist(), match.tolist(), strict=True):
        best = max(s for s, m in zip(sims, true, strict=True) if m)
        false = [s for s, m in zip(sims, true, strict=True) if not m]
        hits += sum(s >= best for s in false) < k
        ties += best in false
    return Score(hits / len(similarity), len(similarity), ties)


def _retrieval(image, text, owner, ks=(1, 3, 5)):
    benchmark = HeldOutRetrieval(list(ks))
    benchmark.open(None, PREPROCESS, _Owned(owner))
    return benchmark.score(image, text)


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
        assert recall(similarity, match, k) == _naive(similarity, match, k)
    assert scores["retrieval/i2t_r@1"].ties > 3, "without ties this test says little"


@pytest.mark.parametrize("numbers", [1, 100, 7 * 60, 10**9])
def test_the_size_of_a_block_changes_nothing(monkeypatch, numbers):
    image, text, owner = _owned(41, 3)
    expected = _retrieval(image, text, owner)
    sizes = []

    def seen(similarity, *pairs):
        sizes.append(similarity.numel())
        return places(similarity, *pairs)

    places = retrieval.places
    monkeypatch.setattr(retrieval, "places", seen)
    monkeypatch.setattr(retrieval, "BLOCK", numbers)
    assert _retrieval(image, text, owner) == expected
    assert max(sizes) <= max(numbers, len(text)), "a block is as small as is asked for, but for one row"
    assert sum(sizes) == 2 * len(image) * len(text)


def test_captions_that_are_no_number_find_nothing():
    image, text, owner = _owned(5, 2)
    scores = _retrieval(image, torch.full_like(text, torch.nan), owner, ks=[1])
    assert [score.value for score in scores.values()] == [0.0, 0.0]


def test_winoground_is_strict_and_needs_both():
    s = lambda *values: torch.tensor(values)  # noqa: E731
    # item 0 all right; 1 only text; 2 only image; 3 a tie
    scores = winoground(s(0.9, 0.5, 0.5, 0.5), s(0.1, 0.6, 0.3, 0.5), s(0.2, 0.4, 0.6, 0.5), s(0.8, 0.7, 0.7, 0.5))
    assert scores["winoground/text"] == Score(0.5, 4, 1)
    assert scores["winoground/image"] == Score(0.5, 4, 1)
    assert scores["winoground/group"] == Score(0.25, 4, 1)


@pytest.fixture(scope="module")
def scenes():
    benchmark = ScenesBenchmark(n=100)
    benchmark.open(None, PREPROCESS, held_out=None)
    return benchmark


def test_random_embeddings_are_at_chance(scenes):
    torch.manual_seed(0)
    image = torch.nn.functional.normalize(torch.randn(scenes.pictures, 64), dim=-1)
    text = torch.nn.functional.normalize(torch.randn(len(scenes.captions), 64), dim=-1)
    scores = scenes.score(image, text)
    assert scores["mean of 7"].value == pytest.approx(0.5, abs=0.06)
    assert scores["mean of 7"].n == 700
    assert scores["hard_positive"].value == pytest.approx(1 / 3, abs=0.06)
    assert scores["winoground/group"].value == pytest.approx(1 / 6, abs=0.12)
    assert scores["retrieval/i2t_r@1"].value < 0.05
    assert all(score.n >= 100 for score in scores.values())


def test_embeddings_that_know_the_answer_are_perfect(scenes):
    """Each caption points to the pictures it is true of, and from nothing else."""
    image = torch.eye(scenes.pictures)
    text = torch.zeros(len(scenes.captions), scenes.pictures)
    for items in (*scenes._items.values(), scenes._unseen):
        for picture, true, other, _ in items.tolist():
            text[true, picture] = text[other, picture] = 1.0
    for one, two, first, second in scenes._pairs.tolist():
        text[first, one] = text[second, two] = 1.0
    for picture, written in scenes._retrieval.tolist():
        text[written, picture] = 1.0
    scores = scenes.score(image, text)
    for name in ("swap_obj", "replace_rel", "add_att", "winoground/group", "retrieval/i2t_r@1", "retrieval/t2i_r@1"):
        assert scores[name].value > 0.97, name  # a caption may be true of another scene's edit by chance


def test_constant_embeddings_score_zero_and_say_that_all_are_ties(scenes):
    scores = scenes.score(torch.ones(scenes.pictures, 4), torch.ones(len(scenes.captions), 4))
    for name in ("replace_rel", "hard_positive", "winoground/text", "retrieval/i2t_r@1"):
        assert scores[name].value == 0.0
        assert scores[name].ties == scores[name].n


def test_the_scenes_are_the_same_every_time_and_for_every_size(scenes):
    other = ScenesBenchmark(n=100)
    other.open(None, Preprocess(64, (0.5,) * 3, (0.5,) * 3), held_out=None)
    assert other.captions == scenes.captions
    assert other.pictures == scenes.pictures
    assert other.picture(0).shape == (3, 64, 64)
    assert ScenesBenchmark(n=100, seed=1).seed != scenes.seed


def test_each_picture_and_caption_is_encoded_once(scenes):
    class Words:
        pad_id, shortens = 0, True

        def __call__(self, texts):
            return torch.tensor([[1] * len(t.split()) + [0] * (40 - len(t.split())) for t in texts])

    items = EncodeItems(scenes, Words(), 64)
    chunks = [items[i] for i in range(len(items))]
    pictures = torch.cat([c.rows for c in chunks if c.images is not None])
    captions = torch.cat([c.rows for c in chunks if c.tokens is not None])
    assert sorted(pictures.tolist()) == list(range(scenes.pictures))
    assert sorted(captions.tolist()) == list(range(len(scenes.captions)))
    assert len(set(scenes.captions)) == len(scenes.captions)
    longest = [c.tokens.shape[1] for c in chunks if c.tokens is not None]
    assert longest[0] < longest[-1], "short captions must not be padded to the longest"


class _HeldOut:
    pictures = 3

    def picture(self, index):
        return torch.full((3, 4, 4), index, dtype=torch.uint8)

    def captions(self, index):
        return [f"picture {index}", f"photo {index}"]


def test_retrieval_on_the_held_out_split():
    benchmark = HeldOutRetrieval([1, 2])
    benchmark.open(None, PREPROCESS, _HeldOut())
    image = torch.eye(3)
    text = torch.eye(3).repeat_interleave(2, 0)
    assert benchmark.score(image, text)["retrieval/i2t_r@1"] == Score(1.0, 3, 0)
    swapped = benchmark.score(image[[1, 0, 2]], text)
    assert swapped["retrieval/i2t_r@1"].value == pytest.approx(1 / 3)
    assert swapped["retrieval/t2i_r@1"].n == 6


def test_a_picture_that_could_not_be_read_is_left_out_of_retrieval():
    benchmark = HeldOutRetrieval([1])
    benchmark.open(None, PREPROCESS, _HeldOut())
    image = torch.eye(3)
    image[1] = torch.nan
    text = torch.eye(3).repeat_interleave(2, 0)
    text[4] = text[2]  # nearest to the lost picture, level with both others: found by none
    scores = benchmark.score(image, text)
    assert scores["retrieval/i2t_r@1"] == Score(1.0, 2, 0)
    assert scores["retrieval/t2i_r@1"] == Score(0.75, 4, 1)


def test_no_readable_held_out_picture_is_said():
    benchmark = HeldOutRetrieval([1])
    benchmark.open(None, PREPROCESS, _HeldOut())
    with pytest.raises(DataError, match=r"none of the 3 held-out pictures .*data\.benchmarks") as caught:
        benchmark.score(torch.full((3, 3), torch.nan), torch.eye(3).repeat_interleave(2, 0))
    assert "\n" not in str(caught.value)


def test_no_held_out_split_is_said():
    empty = _HeldOut()
    empty.pictures = 0
    with pytest.raises(DataError, match=r"captions_val20XX\.json"):
        HeldOutRetrieval().open(None, PREPROCESS, empty)
