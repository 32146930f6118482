"""Which shapes, colours, sizes and textures a scene of the embedded world shows: several labels a picture."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch

from lightning_cr.benchmarks.labelled import Labelled, LabelledPart, Part
from lightning_cr.errors import ConfigError
from lightning_cr.scenes import RenderedScene, World
from lightning_cr.scenes.graph import COLOURS, SHAPES, SIZES, TEXTURES

__all__ = ["LabelledScenes"]


class LabelledScenes(Labelled):
    """Scenes made from a seed of their own, with a label for each quality that any of their things has.

    Args:
        train: Scenes to fit on.
        test: Scenes to measure on.
        val: Scenes to choose the regularisation by; 0 takes them out of ``train``.
        seed: Of the scenes; not the seed of the run.

    Raises:
        ConfigError: A number out of range.
    """

    multi_label = True
    reads_files = False
    classes = (*SHAPES, *COLOURS, *SIZES, *TEXTURES)

    def __init__(self, train: int = 1500, test: int = 1000, val: int = 0, seed: str = "probe") -> None:
        if min(train, test) < 1 or val < 0:
            raise ConfigError(
                f"LabelledScenes has train {train}, test {test}, val {val}; allowed are 1, 1 and 0 or more"
            )
        self.train, self.test, self.val, self.seed = train, test, val, seed

    def open(self, root: Path | None, parts: Sequence[Part]) -> dict[Part, LabelledPart]:
        """See :class:`Labelled`; nothing is read."""
        counts: dict[Part, int] = {"train": self.train, "val": self.val, "test": self.test}
        return {part: self._part(part, counts[part]) for part in parts if counts[part]}

    def _part(self, part: Part, count: int) -> LabelledPart:
        rng, world = random.Random(f"{self.seed}/{part}"), World(held_out="any")
        scenes = [world.draw(rng) for _ in range(count)]
        has = [{v for t in scene.things for v in (t.shape, t.colour, t.size, t.texture)} for scene in scenes]
        labels = [[int(name in found) for name in self.classes] for found in has]
        return LabelledPart(
            [RenderedScene(scene) for scene in scenes],
            [str(number) for number in range(count)],
            torch.tensor(labels, dtype=torch.int8),
        )
