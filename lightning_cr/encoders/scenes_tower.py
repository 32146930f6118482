"""The image tower of ``scenes-tiny``: four convolutions, then a small transformer on what they see.

A transformer on raw patches learns shapes late (compare 2106.14881, Early Convolutions Help Transformers See Better):
with patches of 8 pixels this model still confused all shapes after 50,000 pictures, and took twice as long for them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from lightning_cr.errors import ConfigError

__all__ = ["SIDE", "ConvolutionalStem", "PlaceAwareTransformer", "scenes_vit"]

SIDE = 64  # of a picture, in pixels


class ConvolutionalStem(nn.Module):
    """Pixels to tokens, each step at half the resolution; group norm, so that rows of a batch stay independent.

    Two more channels tell each pixel its place (CoordConv, 1807.03247): what stands where is then in every token.

    Args:
        img_size: Side of the picture, in pixels.
        patch_size: Pixels between two tokens, 16.
        in_chans: Channels of the picture.
        embed_dim: Width of a token.
        of_timms: What timm hands to its own patch layer; :class:`PlaceAwareTransformer` changes none of it.
    """

    places: Tensor

    def __init__(self, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **of_timms: Any) -> None:
        super().__init__()
        ys, xs = torch.meshgrid(torch.linspace(-1, 1, img_size), torch.linspace(-1, 1, img_size), indexing="ij")
        self.register_buffer("places", torch.stack([xs, ys])[None], persistent=False)
        widths = (in_chans + 2, embed_dim // 4, embed_dim // 2, embed_dim, embed_dim)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.GroupNorm(8, after), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(embed_dim, embed_dim, 1))
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]

    def forward(self, pixels: Tensor) -> Tensor:
        """``(B, C, S, S)`` to ``(B, tokens, width)``."""
        pixels = torch.cat([pixels, self.places.to(pixels.dtype).expand(len(pixels), -1, -1, -1)], 1)
        tokens: Tensor = self.layers(pixels).flatten(2).transpose(1, 2)
        return tokens


class PlaceAwareTransformer(VisionTransformer):
    """A vision transformer whose readout has weights of its own for every place of the grid, not a mean over places.

    What stands where is then one linear map away. With a mean, or a class token, a model of this size found relations
    late in a run of 700 steps, or not at all.

    Args:
        num_classes: Width of the embedding.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(
            img_size=SIDE,
            patch_size=16,
            num_classes=num_classes,
            global_pool="",
            class_token=False,
            embed_dim=128,
            depth=2,
            num_heads=4,
            embed_layer=ConvolutionalStem,
        )
        self.head = nn.Linear(self.patch_embed.num_patches * self.embed_dim, num_classes)

    def pool(self, x: Tensor, pool_type: str | None = None) -> Tensor:
        """``(B, tokens, width)`` to ``(B, tokens * width)``."""
        return x.flatten(1)


@timm.models.register_model
def scenes_vit(num_classes: int = 0, **options: Any) -> PlaceAwareTransformer:
    """The tower under a name that timm, and so open_clip, builds.

    Args:
        num_classes: Width of the embedding.
        options: What timm hands over for every model; all must be off, for the tower has one form.

    Raises:
        ConfigError: One of them is on, or there is no width.
    """
    asked = {name: value for name, value in options.items() if value}
    if asked or num_classes < 1:
        raise ConfigError(
            f"the tower scenes_vit was asked for {asked or 'features before its readout'} and has one form only; set"
            " timm_pool and timm_proj to '' in vision_cfg, and beside them only timm_model_name and image_size"
        )
    return PlaceAwareTransformer(num_classes)
