"""The scene graph: a few things with shape, colour, size, texture and count, a relation, a background.

Within one scene all shapes differ and all colours differ, so every caption names its things without ambiguity and an
edited caption is false for the picture.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "INVERSE",
    "RELATIONS",
    "SHAPES",
    "SIZES",
    "TEXTURES",
    "Scene",
    "Thing",
    "World",
    "is_held_out",
]

SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "cross", "ring")
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (240, 210, 40),
    "purple": (140, 50, 170),
    "orange": (245, 140, 30),
    "pink": (250, 150, 190),
    "cyan": (60, 205, 215),
}
SIZES = {"small": (0.115, 0.135), "large": (0.19, 0.21)}
"""Radius as a fraction of the picture's side."""
TEXTURES = ("plain", "striped", "dotted")
BACKGROUNDS = {"white": (250, 250, 250), "gray": (205, 205, 205), "beige": (232, 215, 188)}
RELATIONS = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
"""Where the first thing stands, seen from the second: x to the right, y downwards."""
INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}


def is_held_out(colour: str, shape: str) -> bool:
    """Whether a pair of colour and shape is kept from training pictures (one pair in eight)."""
    return (list(COLOURS).index(colour) + 3 * SHAPES.index(shape)) % len(COLOURS) == 0


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing, or a group of like ones.

    Attributes:
        shape: One of :data:`SHAPES`.
        colour: One of :data:`COLOURS`.
        size: ``small`` or ``large``.
        texture: One of :data:`TEXTURES`.
        count: 1 to 3 like things side by side.
        radius: As a fraction of the picture's side.
        jitter: Offset from its place along and across the relation, each in [-1, 1].
    """

    shape: str
    colour: str
    size: str
    texture: str
    count: int
    radius: float
    jitter: tuple[float, float]

    @property
    def held_out(self) -> bool:
        """Whether its colour and shape are never seen together in training."""
        return is_held_out(self.colour, self.shape)


@dataclass(frozen=True, slots=True)
class Scene:
    """One to three things on a background.

    Attributes:
        things: The first two stand in :attr:`relation`; the third, if any, stands across from them.
        relation: Where the first thing stands, seen from the second, or from the middle if it is alone.
        background: One of :data:`BACKGROUNDS`.
        shade: Small change of the background's brightness, in grey levels.
    """

    things: tuple[Thing, ...]
    relation: str
    background: str
    shade: int

    def with_thing(self, index: int, **changes: object) -> Scene:
        """The scene with one thing changed."""
        things = list(self.things)
        things[index] = replace(things[index], **changes)  # type: ignore[arg-type]
        return replace(self, things=tuple(things))

    def places(self) -> list[tuple[float, float]]:
        """Centre of each thing, x and y as fractions of the side."""
        dx, dy = RELATIONS[self.relation]
        far = 0.24
        shift = 0.2 if len(self.things) == 3 else 0.0
        # A third thing takes the side that the relation leaves free, between the other two.
        sx, sy = (shift, 0.0) if dx == 0 else (0.0, shift)
        centres = [
            (0.5 + far * dx - sx, 0.5 + far * dy - sy),
            (0.5 - far * dx - sx, 0.5 - far * dy - sy),
            (0.5 + 1.25 * sx, 0.5 + 1.25 * sy),
        ]
        along, across = 0.03, 0.03 if len(self.things) == 3 else 0.08
        spread = (along, across) if RELATIONS[self.relation][1] == 0 else (across, along)
        return [
            (x + spread[0] * t.jitter[0], y + spread[1] * t.jitter[1])
            for (x, y), t in zip(centres, self.things, strict=False)
        ]


@dataclass
class World:
    """How rich the scenes are; every probability is drawn anew for each scene.

    Attributes:
        one_thing: Probability of a scene with one thing.
        three_things: Probability of a scene with three; the rest have two.
        textures: Probability that a thing is striped or dotted.
        groups: Probability that a thing is a group of two or three.
        held_out: ``exclude`` keeps the held-out pairs of colour and shape away, ``only`` shows one in every scene,
            ``any`` draws without regard to them.
    """

    one_thing: float = 0.1
    three_things: float = 0.06
    textures: float = 0.15
    groups: float = 0.06
    held_out: Literal["exclude", "only", "any"] = "exclude"

    def draw(self, rng: random.Random, things: int | None = None) -> Scene:
        """Draws a scene.

        Args:
            rng: The only source of randomness.
            things: Number of things; drawn where None.
        """
        if things is None:
            chance = rng.random()
            things = 1 if chance < self.one_thing else 3 if chance < self.one_thing + self.three_things else 2
        while True:
            shapes = rng.sample(SHAPES, things)
            colours = rng.sample(list(COLOURS), things)
            held_out = any(map(is_held_out, colours, shapes))
            if self.held_out == "any" or held_out == (self.held_out == "only"):
                break
        drawn = tuple(self.draw_thing(rng, shape, colour) for shape, colour in zip(shapes, colours, strict=True))
        return Scene(drawn, rng.choice(list(RELATIONS)), rng.choice(list(BACKGROUNDS)), rng.randint(-5, 5))

    def draw_thing(self, rng: random.Random, shape: str, colour: str) -> Thing:
        """Draws the rest of a thing whose shape and colour are given."""
        size = rng.choice(list(SIZES))
        texture = rng.choice(TEXTURES[1:]) if rng.random() < self.textures else "plain"
        count = rng.choice((2, 3)) if rng.random() < self.groups else 1
        jitter = (rng.uniform(-1, 1), rng.uniform(-1, 1))
        return Thing(shape, colour, size, texture, count, rng.uniform(*SIZES[size]), jitter)
