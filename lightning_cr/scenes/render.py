"""Draws a scene with Pillow: each shape is drawn once per size and texture, four times as large, and kept as a mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageChops, ImageDraw
from torch import Tensor

from lightning_cr.encoders.base import Preprocess
from lightning_cr.scenes.graph import BACKGROUNDS, COLOURS, Scene

__all__ = ["RenderedScene", "render", "to_tensor"]

_OVERSAMPLING = 4
_OFFSETS = {1: ((0.0, 0.0),), 2: ((-0.66, 0.0), (0.66, 0.0)), 3: ((-0.66, 0.5), (0.66, 0.5), (0.0, -0.62))}


@dataclass(frozen=True)
class RenderedScene:
    """A scene as the picture of a benchmark."""

    scene: Scene

    def pixels(self, preprocess: Preprocess) -> Tensor:
        """``(3, S, S)`` uint8, drawn in the encoder's own size."""
        return to_tensor(render(self.scene, preprocess.size))

    def content(self) -> bytes:
        """The scene graph in words."""
        return repr(self.scene).encode()


def render(scene: Scene, size: int) -> Image.Image:
    """Draws a scene.

    Args:
        scene: What to show.
        size: Side of the square picture, in pixels.

    Returns:
        An RGB picture.
    """
    r, g, b = (min(255, max(0, level + scene.shade)) for level in BACKGROUNDS[scene.background])
    canvas = Image.new("RGB", (size, size), (r, g, b))
    for thing, (x, y) in zip(scene.things, scene.places(), strict=True):
        # The members of a group are smaller, so that "two large stars" stay inside the picture.
        radius = thing.radius if thing.count == 1 else 0.6 * thing.radius
        mask = _mask(thing.shape, max(2, round(radius * size)), thing.texture)
        for ox, oy in _OFFSETS[thing.count]:
            left = round((x + ox * thing.radius) * size - mask.width / 2)
            top = round((y + oy * thing.radius) * size - mask.height / 2)
            canvas.paste(COLOURS[thing.colour], (left, top), mask)
    return canvas


def to_tensor(image: Image.Image) -> Tensor:
    """``(3, H, W)`` uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


@lru_cache(maxsize=4096)
def _mask(shape: str, radius: int, texture: str) -> Image.Image:
    """Coverage of a shape, 0 to 255, with its texture cut out."""
    side = 2 * radius * _OVERSAMPLING
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    centre, reach = side / 2, side / 2 - 1
    if shape in ("circle", "ring"):
        draw.ellipse((0, 0, side - 1, side - 1), fill=255)
        if shape == "ring":
            inner = 0.55 * reach
            draw.ellipse((centre - inner, centre - inner, centre + inner, centre + inner), fill=0)
    else:
        draw.polygon([(centre + reach * x, centre + reach * y) for x, y in _outline(shape)], fill=255)
    if texture != "plain":
        mask = ImageChops.multiply(mask, _pattern(texture, side))
    return mask.resize((2 * radius, 2 * radius), Image.Resampling.BOX)


def _outline(shape: str) -> list[tuple[float, float]]:
    """Corners of a shape in [-1, 1] x [-1, 1], y downwards."""
    match shape:
        case "square":
            return [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]
        case "triangle":
            return [(0.0, -0.95), (0.95, 0.8), (-0.95, 0.8)]
        case "diamond":
            return [(0.0, -1.0), (0.7, 0.0), (0.0, 1.0), (-0.7, 0.0)]
        case "cross":
            a, b = 0.3, 0.95
            return [
                (-a, -b),
                (a, -b),
                (a, -a),
                (b, -a),
                (b, a),
                (a, a),
                (a, b),
                (-a, b),
                (-a, a),
                (-b, a),
                (-b, -a),
                (-a, -a),
            ]
        case "star":
            turns = [math.pi * k / 5 - math.pi / 2 for k in range(10)]
            return [
                ((0.42 if k % 2 else 1.0) * math.cos(t), (0.42 if k % 2 else 1.0) * math.sin(t))
                for k, t in enumerate(turns)
            ]
        case "heart":
            turns = [2 * math.pi * k / 48 for k in range(48)]
            waves = [(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) for t in turns]
            return [(math.sin(t) ** 3, -(wave + 2.5) / 15.5) for t, wave in zip(turns, waves, strict=True)]
        case _:
            raise ValueError(f"no shape {shape!r}")


@lru_cache(maxsize=512)
def _pattern(texture: str, side: int) -> Image.Image:
    """White where the colour stays, dark where the background shows through; outlines stay visible."""
    pattern = Image.new("L", (side, side), 255)
    draw = ImageDraw.Draw(pattern)
    step = 5 * _OVERSAMPLING  # in final pixels: two of gap, three of colour, so that it stays visible at 64 px
    gap = 2 * _OVERSAMPLING
    if texture == "striped":
        for y in range(step // 2, side, step):
            draw.rectangle((0, y, side, y + gap - 1), fill=60)
    else:
        for row, y in enumerate(range(step // 2, side, step)):
            for x in range(step // 2 if row % 2 else 0, side, step):
                draw.ellipse((x, y, x + gap + _OVERSAMPLING, y + gap + _OVERSAMPLING), fill=60)
    return pattern
