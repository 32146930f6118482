"""The embedded world as a data source: infinite, seeded, no files."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

from lightning_cr.data.base import ImageNegatives, Pair, Sample, Source, Split
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, suggest
from lightning_cr.negatives.text.base import Negative
from lightning_cr.scenes import (
    EDITS,
    RenderedScene,
    Scene,
    Wording,
    World,
    caption,
    draw_wording,
    names_held_out,
    paraphrase,
    render,
    to_tensor,
)

__all__ = ["SceneEdits", "Scenes"]

_DRAWS = 8  # a scene of one thing has few wordings, so the same may come again


class SceneEdits(ImageNegatives):
    """False captions with their true pictures, exactly: the scene graph is edited, captioned and rendered.

    Args:
        edits: Slots to fill, each the name of one of SugarCrepe's seven categories.
        pictures: Whether to render; the captions are the same without.

    Raises:
        ConfigError: An unknown edit, or, once it is opened, another world than the embedded one.
    """

    def __init__(self, edits: list[str], pictures: bool = True) -> None:
        for name in edits:
            if name not in EDITS:
                known = ", ".join(EDITS)
                raise ConfigError(
                    f"there is no edit '{name}' (data.source.edits, data.image_negatives.edits); known are"
                    f" {known}.{suggest(name, EDITS)}"
                )
        self.kinds = tuple(edits)
        self.pictured = pictures

    def open(self, train: Split, preprocess: Preprocess) -> None:
        """Takes the side of the pictures."""
        if not isinstance(train, SceneSplit):
            raise ConfigError(
                "data.image_negatives is SceneEdits, which edits scene graphs, and the data are not the embedded world;"
                " use StoredPictures"
            )
        self.pixels = preprocess.size

    def __call__(self, sample: Sample, rng: random.Random) -> dict[str, Pair | None]:
        """The edits that the caption gives occasion for."""
        if sample.graph is None:  # a bug of the caller: open() has seen to it
            raise ValueError(f"sample {sample.sample_id} has no scene graph")
        found: dict[str, Pair | None] = {}
        for kind in self.kinds:
            edit = EDITS[kind](*sample.graph, rng)
            if edit is not None:
                text = caption(edit.scene, edit.wording).text
                picture = to_tensor(render(edit.scene, self.pixels)) if self.pictured else None
                found[kind] = (Negative(text, kind, *changed(sample.caption, text)), picture)
        return found


class Scenes(Source):
    """Scenes rendered on the fly, with captions from a small grammar.

    Args:
        size: Samples in an epoch; every epoch shows other scenes.
        held_out: Scenes of the held-out split.
        edits: Slots whose negative is made by editing the scene graph, with the *true picture* of the false caption as
            image negative: any of SugarCrepe's seven categories (:class:`SceneEdits`). Other slots are filled by the
            text rules.
        pictures: Whether the false captions of ``edits`` come with their true pictures; the captions are the same.
        where: Probability that a caption tells where things stand, and not only which they are.
        world: How rich the scenes are.

    Raises:
        ConfigError: An unknown edit, or a size below 1.
    """

    lexicon = "scenes"

    def __init__(
        self,
        size: int = 25_600,
        held_out: int = 512,
        edits: list[str] | None = None,
        pictures: bool = True,
        where: float = 1.0,
        world: World = World(),  # noqa: B008 (never changed in place)
    ) -> None:
        self.size = size
        self.held_out = held_out
        self.edits = SceneEdits(edits or [], pictures)
        self.kinds = self.edits.kinds
        self.pictured = pictures
        self.where = where
        self.world = world
        if size < 1:
            raise ConfigError(f"data.source.size is {size}; it must be 1 or more")

    def open(self, root: Path | None, preprocess: Preprocess, seed: int) -> tuple[Split, Split]:
        """Training scenes and held-out scenes; ``root`` must not be given."""
        if root is not None:
            raise ConfigError(
                f"data.root is '{root}' but the source is the embedded world, which reads no files;"
                " to train on a folder of photographs add --config configs/coco.yaml"
            )
        train = SceneSplit(self, self.size, preprocess.size)
        self.edits.open(train, preprocess)
        return train, SceneSplit(self, self.held_out, preprocess.size, fixed=f"{seed}/held-out")


class SceneSplit(Split):
    """Scenes by index.

    Args:
        source: How rich the scenes are, and which slots are filled by editing the graph.
        size: Samples in an epoch.
        pixels: Side of the pictures.
        fixed: Where given, the scenes depend on it and the index alone, not on the epoch.
    """

    def __init__(self, source: Scenes, size: int, pixels: int, fixed: str = "") -> None:
        self.source = source
        self.size = size
        self.pixels = pixels
        self.fixed = fixed

    def __len__(self) -> int:
        return self.size

    def sample(self, index: int, rng: random.Random, epoch: int) -> Sample:
        """Draws a scene and its caption; ids are unique over all epochs."""
        if self.fixed:
            rng = random.Random(f"{self.fixed}/{index}")
        scene = self.source.world.draw(rng)
        wording = draw_wording(scene, rng, where=self.source.where)
        annotated = caption(scene, wording)
        number = epoch * self.size + index
        image = to_tensor(render(scene, self.pixels))
        another = partial(reworded, scene, wording)
        sample = Sample(image, annotated.text, number, number, annotated, another=another, graph=(scene, wording))
        sample.negatives = {slot: pair for slot, pair in self.source.edits(sample, rng).items() if pair is not None}
        return sample

    @property
    def rewords(self) -> bool:
        """Always: a scene has many wordings."""
        return True

    def accepts(self, false_caption: str) -> bool:
        """Whether it names no held-out pair: what only false captions name would be learned to be false."""
        return not names_held_out(false_caption)

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        return self.size

    def picture(self, index: int) -> RenderedScene:
        """One picture."""
        return RenderedScene(self._drawn(index)[0])

    def captions(self, index: int) -> list[str]:
        """The captions of one picture."""
        return [caption(*self._drawn(index)).text]

    def _drawn(self, index: int) -> tuple[Scene, Wording]:
        """A scene of a fixed split with its wording, as :meth:`sample` draws them."""
        rng = random.Random(f"{self.fixed}/{index}")
        scene = self.source.world.draw(rng)
        return scene, draw_wording(scene, rng, where=self.source.where)


def reworded(scene: Scene, wording: Wording, rng: random.Random) -> str | None:
    """A paraphrase that differs from the caption, as the benchmark's hard positives do; None where none was drawn."""
    text = caption(scene, wording).text
    drawn = (caption(scene, paraphrase(wording, rng)).text for _ in range(_DRAWS))
    return next((other for other in drawn if other != text), None)


def changed(before: str, after: str) -> tuple[str, str, int, int]:
    """The words that differ (old, new) and where they stand in the old text, as whole words.

    >>> changed("a red ring", "a blue ring")
    ('red', 'blue', 2, 5)
    """
    old, new = before.split(" "), after.split(" ")
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    original, replacement = " ".join(old[head : len(old) - tail]), " ".join(new[head : len(new) - tail])
    start = len(" ".join(old[:head])) + (head > 0)
    return original, replacement, start, start + len(original)
