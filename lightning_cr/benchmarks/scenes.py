"""The embedded world's benchmark: SugarCrepe's seven categories and what stands beside them.

Everything is made from a seed of its own, so that every run is measured on the same scenes; none of them is trained on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from lightning_cr.benchmarks.base import Benchmark, Pictures, Score, preferred
from lightning_cr.benchmarks.retrieval import recall
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError
from lightning_cr.scenes import (
    EDITS,
    Edit,
    Scene,
    Wording,
    World,
    caption,
    draw_wording,
    paraphrase,
    render,
    replace_colour,
    replace_shape,
    to_tensor,
)

__all__ = ["ScenesBenchmark"]

_SWAPS = ("swap_obj", "swap_att")


class ScenesBenchmark(Benchmark):
    """Scores a model on scenes it has not seen.

    * the seven categories: the caption must be nearer to the picture than the edited caption;
    * ``mean of 7``: their mean;
    * ``hard_positive``: a paraphrase of the caption must beat the edited caption too (Kamath et al. 2024, 2409.17958,
      show that training with hard negatives often breaks this);
    * ``winoground/text``, ``/image``, ``/group``: a scene and its swapped twin, two pictures and two captions with the
      same words (2204.03162);
    * ``held_out_pairs``: things whose colour and shape never occur together in training, against an edited caption;
    * ``retrieval/...``: R@1 and R@5 among fully described scenes with two things.

    Args:
        n: Items of each category, and pairs and scenes of the other parts.
        seed: Of the scenes; not the seed of the run.

    Raises:
        ConfigError: ``n`` below 1.
    """

    reads_files = False
    headline = "mean of 7"

    def __init__(self, n: int = 500, seed: int = 2024) -> None:
        if n < 1:
            raise ConfigError(f"data.benchmarks.scenes.n is {n}; it must be 1 or more")
        self.n = n
        self.seed = seed

    def open(self, root: Path | None, preprocess: Preprocess, held_out: Pictures) -> None:
        """Makes the scenes; nothing is read."""
        self._pixels = preprocess.size
        self._pictures: dict[Scene, int] = {}
        self._texts: dict[str, int] = {}
        world = World()
        self._items = {name: self._category(world, name) for name in EDITS}
        self._pairs = self._winoground(world)
        self._unseen = self._category(World(held_out="only"), "held_out_pairs")
        self._retrieval = self._described(world)
        self._scenes = list(self._pictures)
        self.pictures = len(self._scenes)
        self.captions = list(self._texts)

    def picture(self, index: int) -> Tensor:
        """Renders one scene."""
        return to_tensor(render(self._scenes[index], self._pixels))

    def score(self, image: Tensor, text: Tensor) -> dict[str, Score]:
        """Scores of all parts; see the class."""
        scores, false_pairs = {}, []
        for name, items in self._items.items():
            true, paraphrased, false = self._similarities(image, text, items)
            scores[name] = preferred(true, false)
            false_pairs.append((torch.minimum(true, paraphrased), false))
        seven = list(scores.values())
        scores["mean of 7"] = Score(
            sum(s.value for s in seven) / len(seven), sum(s.n for s in seven), sum(s.ties for s in seven)
        )
        scores["hard_positive"] = preferred(*(torch.cat(column) for column in zip(*false_pairs, strict=True)))
        true, _, false = self._similarities(image, text, self._unseen)
        scores["held_out_pairs"] = preferred(true, false)
        return scores | self._score_pairs(image, text) | self._score_retrieval(image, text)

    def _category(self, world: World, name: str) -> Tensor:
        """``(n, 4)``: picture, caption, paraphrase, false caption."""
        rows = []
        for rng, scene in self._draw(world, name):
            wording = draw_wording(scene, rng)
            edit = (
                self._edit_unseen(scene, wording, rng) if name == "held_out_pairs" else EDITS[name](scene, wording, rng)
            )
            if edit is None:
                continue
            other = paraphrase(wording, rng)
            texts = (caption(scene, wording), caption(scene, other), caption(edit.scene, edit.wording))
            rows.append([self._picture(scene), *(self._text(written.text) for written in texts)])
            if len(rows) == self.n:
                break
        return torch.tensor(rows)

    def _edit_unseen(self, scene: Scene, wording: Wording, rng: random.Random) -> Edit | None:
        index = [thing.held_out for thing in scene.things].index(True)
        if not wording.mentions[index].colour:
            return None  # the caption must name both halves of the unseen pair
        return rng.choice((replace_shape, replace_colour))(scene, wording, rng, index)

    def _winoground(self, world: World) -> Tensor:
        """``(n, 4)``: two pictures, two captions."""
        rows = []
        for rng, scene in self._draw(world, "winoground"):
            wording = draw_wording(scene, rng)
            edit = EDITS[rng.choice(_SWAPS)](scene, wording, rng)
            if edit is None:
                continue
            texts = caption(scene, wording).text, caption(edit.scene, edit.wording).text
            rows.append([self._picture(scene), self._picture(edit.scene), *map(self._text, texts)])
            if len(rows) == self.n:
                break
        return torch.tensor(rows)

    def _described(self, world: World) -> Tensor:
        """``(n, 2)``: picture and full caption, all captions different."""
        seen: dict[str, int] = {}
        for rng, scene in self._draw(world, "retrieval"):
            if len(scene.things) == 2:
                written = caption(scene, draw_wording(scene, rng, full=True)).text
                seen.setdefault(written, self._picture(scene))
            if len(seen) == self.n:
                break
        return torch.tensor([[picture, self._text(written)] for written, picture in seen.items()])

    def _draw(self, world: World, name: str) -> Iterator[tuple[random.Random, Scene]]:
        index = 0
        while True:
            rng = random.Random(f"benchmark/{self.seed}/{name}/{index}")
            yield rng, world.draw(rng)
            index += 1

    def _picture(self, scene: Scene) -> int:
        return self._pictures.setdefault(scene, len(self._pictures))

    def _text(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def _similarities(self, image: Tensor, text: Tensor, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pictures = image[items[:, 0]]
        first, second, third = ((pictures * text[items[:, column]]).sum(-1) for column in (1, 2, 3))
        return first, second, third

    def _score_pairs(self, image: Tensor, text: Tensor) -> dict[str, Score]:
        i0, i1 = image[self._pairs[:, 0]], image[self._pairs[:, 1]]
        c0, c1 = text[self._pairs[:, 2]], text[self._pairs[:, 3]]
        s00, s01, s10, s11 = ((c * i).sum(-1) for c in (c0, c1) for i in (i0, i1))
        return winoground(s00, s01, s10, s11)

    def _score_retrieval(self, image: Tensor, text: Tensor) -> dict[str, Score]:
        similarity = image[self._retrieval[:, 0]] @ text[self._retrieval[:, 1]].T
        match = torch.eye(len(similarity), dtype=torch.bool)
        both = {"i2t": similarity, "t2i": similarity.T}
        return {f"retrieval/{name}_r@{k}": recall(sim, match, k) for name, sim in both.items() for k in (1, 5)}


def winoground(s00: Tensor, s01: Tensor, s10: Tensor, s11: Tensor) -> dict[str, Score]:
    """Text, image and group score; ``s01`` is the similarity of caption 0 and image 1.

    Text: each image is nearer to its own caption. Image: each caption is nearer to its own image. Group: both. Strict.
    """
    text = torch.minimum(s00 - s10, s11 - s01)
    image = torch.minimum(s00 - s01, s11 - s10)
    zero = torch.zeros_like(text)
    return {
        "winoground/text": preferred(text, zero),
        "winoground/image": preferred(image, zero),
        "winoground/group": preferred(torch.minimum(text, image), zero),
    }
