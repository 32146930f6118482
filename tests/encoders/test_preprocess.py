import random

import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as reference

from lightning_cr.encoders import Preprocess, resize_and_crop
from lightning_cr.encoders.preprocess import _rectangle
from lightning_cr.errors import ConfigError

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
SIZES = [(64, 64), (65, 97), (301, 200), (33, 47), (31, 20), (640, 65), (7, 113)]


def picture(width, height, mode="RGB"):
    noise = np.random.default_rng(width * 1000 + height).integers(
        0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8
    )
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR).convert(mode)


def preprocess(**settings):
    return Preprocess(**{"size": 64, "mean": MEAN, "std": STD} | settings)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_evaluation_equals_open_clip(size, mode, interpolation):
    image = picture(*size)
    theirs = image_transform(64, is_train=False, mean=MEAN, std=STD, resize_mode=mode, interpolation=interpolation)(
        image
    )
    pixels = resize_and_crop(image, preprocess(resize_mode=mode, interpolation=interpolation))
    assert pixels.shape == (3, 64, 64)
    assert pixels.dtype == torch.uint8
    ours = pixels.float().div(255).sub(torch.tensor(MEAN).view(3, 1, 1)).div(torch.tensor(STD).view(3, 1, 1))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_mode_equals_open_clip(mode):
    image = picture(90, 61, mode)
    theirs = image_transform(64, is_train=False, mean=(0.0,) * 3, std=(1.0,) * 3)(image)
    assert torch.equal(resize_and_crop(image, preprocess()).float().div(255), theirs)


def test_the_training_crop_is_torchvisions_for_the_same_rectangle():
    image = picture(120, 90)
    left, top, right, bottom = _rectangle(120, 90, random.Random(3), (0.9, 1.0), (3 / 4, 4 / 3))
    theirs = reference.resized_crop(image, top, left, bottom - top, right - left, [64, 64], InterpolationMode.BICUBIC)
    ours = resize_and_crop(image, preprocess(), random.Random(3))
    assert torch.equal(ours, reference.pil_to_tensor(theirs))
    assert not torch.equal(ours, resize_and_crop(image, preprocess(), random.Random(4)))


def test_rectangles_keep_to_area_ratio_and_picture():
    rng, shares = random.Random(0), []
    for _ in range(500):
        left, top, right, bottom = _rectangle(400, 300, rng, (0.5, 0.6), (3 / 4, 4 / 3))
        assert 0 <= left < right <= 400
        assert 0 <= top < bottom <= 300
        assert 0.74 < (right - left) / (bottom - top) < 1.35
        shares.append((right - left) * (bottom - top) / 120_000)
    assert 0.495 < min(shares) < 0.51
    assert 0.59 < max(shares) < 0.605


@pytest.mark.parametrize("size", [(400, 40), (40, 400)])
def test_where_no_rectangle_fits_it_is_torchvisions_middle(size):
    top, left, height, width = RandomResizedCrop.get_params(picture(*size), [0.9, 1.0], [3 / 4, 4 / 3])
    ours = _rectangle(*size, random.Random(0), (0.9, 1.0), (3 / 4, 4 / 3))
    assert ours == (left, top, left + width, top + height)


def test_unknown_words_are_refused():
    with pytest.raises(ConfigError, match="'lanczos'"):
        resize_and_crop(picture(9, 9), preprocess(interpolation="lanczos"))
    with pytest.raises(ConfigError, match="'crop'"):
        resize_and_crop(picture(9, 9), preprocess(resize_mode="crop"))
