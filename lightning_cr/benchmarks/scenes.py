"""The embedded world's benchmark: SugarCrepe's seven categories and what stands beside them.

Everything is made from a seed of its own, so that every run is measured on the same scenes; none of them is trained on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from lightning_cr.benchmarks.averages import Mean
from lightning_cr.benchmarks.base import Benchmark, Judged, Pictures, Similarity
from lightning_cr.benchmarks.pairs import winoground
from lightning_cr.benchmarks.retrieval import retrieval
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError
from lightning_cr.scenes import (
    EDITS,
    Edit,
    RenderedScene,
    Scene,
    Wording,
    World,
    caption,
    draw_wording,
    paraphrase,
    replace_colour,
    replace_shape,
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
    blind_subsets = (*EDITS, "mean of 7", "held_out_pairs")
    headline = "mean of 7"

    def __init__(self, n: int = 500, seed: int = 2024) -> None:
        if n < 1:
            raise ConfigError(f"data.benchmarks.scenes.n is {n}; it must be 1 or more")
        self.n = n
        self.seed = seed

    def open(self, root: Path | None, preprocess: Preprocess, held_out: Pictures) -> None:
        """Makes the scenes; nothing is read."""
        self._pictures: dict[RenderedScene, int] = {}
        self._texts: dict[str, int] = {}
        world = World()
        self._items = {name: self._category(world, name) for name in EDITS}
        self._pairs = self._winoground(world)
        self._unseen = self._category(World(held_out="only"), "held_out_pairs")
        self._retrieval = self._described(world)
        self.pictures = list(self._pictures)
        self.captions = list(self._texts)
        self.averages = {"mean of 7": Mean(tuple((name,) for name in EDITS))}

    def judge(self, similarity: Similarity) -> Judged:
        """All parts; see the class."""
        margins: dict[str, Tensor] = {}
        clusters: dict[str, Tensor] = {}
        both = []
        for name, items in self._items.items():
            true, paraphrased, false = (similarity.between(items[:, 0], items[:, column]) for column in (1, 2, 3))
            margins[name], clusters[name] = true - false, items[:, 0]
            both.append(torch.minimum(true, paraphrased) - false)
        margins["hard_positive"] = torch.cat(both)
        clusters["hard_positive"] = torch.cat([items[:, 0] for items in self._items.values()])
        unseen = self._unseen
        margins["held_out_pairs"] = similarity.between(unseen[:, 0], unseen[:, 1]) - similarity.between(
            unseen[:, 0], unseen[:, 3]
        )
        clusters["held_out_pairs"] = unseen[:, 0]
        for name, margin in winoground(similarity, *self._pairs.T).items():
            margins[f"winoground/{name}"], clusters[f"winoground/{name}"] = margin, self._pairs[:, 0]
        picture, text = self._retrieval.T
        return Judged.of(margins, clusters).with_(retrieval(similarity, picture, text, [1, 5]))

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
        return self._pictures.setdefault(RenderedScene(scene), len(self._pictures))

    def _text(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))
