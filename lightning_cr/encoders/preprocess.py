"""From a picture of any size to the square of uint8 pixels that an image tower takes."""

from __future__ import annotations

import math
import random

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError

__all__ = ["Crop", "random_crop", "resize_and_crop"]

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
RESIZE_MODES = ("shortest", "longest", "squash")
TRIES = 10

Crop = tuple[float, float, float, float]
"""Left, top, right and bottom of a rectangle, as shares of a picture's width and height."""


def resize_and_crop(
    image: Image.Image,
    preprocess: Preprocess,
    rng: random.Random | None = None,
    scale: tuple[float, float] = (0.9, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    crop: Crop | None = None,
) -> Tensor:
    """Resizes and crops as open_clip does; the encoder normalises later, on its own device.

    With a generator or a rectangle it is CE-CLIP's training augmentation: a rectangle of 90 to 100 % of the area with a
    random aspect ratio, resized to the square with bicubic interpolation. Without it is open_clip's evaluation
    transform.

    Args:
        image: In any mode; it is converted to RGB after resizing, in open_clip's order.
        preprocess: Of the encoder.
        rng: Draws the rectangle.
        scale: Smallest and largest share of the area.
        ratio: Smallest and largest width over height of the rectangle.
        crop: The rectangle, where it was drawn already.

    Returns:
        ``(3, S, S)`` uint8.

    Raises:
        ConfigError: An interpolation or resize mode that is not known.
    """
    if preprocess.interpolation not in FILTERS:
        raise ConfigError(f"interpolation is '{preprocess.interpolation}'; allowed are {' and '.join(FILTERS)}")
    if preprocess.resize_mode not in RESIZE_MODES:
        raise ConfigError(f"resize_mode is '{preprocess.resize_mode}'; allowed are {', '.join(RESIZE_MODES)}")
    size = preprocess.size
    if rng is not None:
        crop = random_crop(image.size, rng, scale, ratio)
    if crop is not None:
        sides = (image.width, image.height, image.width, image.height)
        left, top, right, bottom = (round(share * side) for share, side in zip(crop, sides, strict=True))
        left, top = min(left, image.width - 1), min(top, image.height - 1)  # of a small picture one pixel at least
        image = image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    else:
        image = _centre(_resize(image, preprocess), size)
    return torch.from_numpy(np.array(image.convert("RGB")).transpose(2, 0, 1).copy())


def random_crop(
    size: tuple[int, int],
    rng: random.Random,
    scale: tuple[float, float] = (0.9, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Crop:
    """Draws the rectangle of a training augmentation, whole pixels of a picture of this size.

    Args:
        size: Width and height.
        rng: Draws it.
        scale: Smallest and largest share of the area.
        ratio: Smallest and largest width over height.
    """
    width, height = size
    left, top, right, bottom = _rectangle(width, height, rng, scale, ratio)
    return left / width, top / height, right / width, bottom / height


def _rectangle(
    width: int, height: int, rng: random.Random, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    for _ in range(TRIES):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.randint(0, width - w), rng.randint(0, height - h)
            return left, top, left + w, top + h
    # no rectangle fits: the largest in the middle whose ratio is allowed, as torchvision does
    w, h = width, height
    if width / height < ratio[0]:
        h = round(width / ratio[0])
    elif width / height > ratio[1]:
        w = round(height * ratio[1])
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _resize(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    size, (width, height) = preprocess.size, image.size
    if preprocess.resize_mode == "squash":
        target = (size, size)
    elif preprocess.resize_mode == "longest":
        longest = max(width, height)
        target = (round(width * size / longest), round(height * size / longest))
    elif width <= height:
        target = (size, int(size * height / width))
    else:
        target = (int(size * width / height), size)
    return image if target == image.size else image.resize(target, FILTERS[preprocess.interpolation])


def _centre(image: Image.Image, size: int) -> Image.Image:
    if min(image.size) < size:
        padded = Image.new(image.mode, (max(size, image.width), max(size, image.height)))
        padded.paste(image, ((padded.width - image.width) // 2, (padded.height - image.height) // 2))
        image = padded
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return image.crop((left, top, left + size, top + size))
