"""The image tower of ``scenes-tiny``: four convolutions, then a small transformer on what they see.

A transformer on raw patches learns shapes late (2106.14881, Early Convolutions Help Transformers See Better): with 8-pixel patches
the same model still confused all shapes after 50,000 pictures, and it costs twice as much.
"""

from __future__ import annotations

from typing import Any

import timm
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

__all__ = ["ConvolutionalStem", "scenes_vit"]


class ConvolutionalStem(nn.Module):
    """Pixels to tokens, each step at half the resolution; group norm, so that rows of a batch stay independent.

    Args:
        img_size: Side of the picture, in pixels.
        patch_size: Pixels between two tokens, 16.
        in_chans: Channels of the picture.
        embed_dim: Width of a token.
    """

    def __init__(self, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **unused: Any) -> None:
        super().__init__()
        widths = (in_chans, embed_dim // 4, embed_dim // 2, embed_dim, embed_dim)
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.GroupNorm(8, after), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(embed_dim, embed_dim, 1))
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]

    def forward(self, pixels: Tensor) -> Tensor:
        """``(B, C, S, S)`` to ``(B, tokens, width)``."""
        tokens: Tensor = self.layers(pixels).flatten(2).transpose(1, 2)
        return tokens


@timm.models.register_model
def scenes_vit(pretrained: bool = False, num_classes: int = 128, global_pool: str = "token", **unused: Any) -> VisionTransformer:
    """The tower under a name that timm, and so open_clip, builds."""
    return VisionTransformer(
        img_size=64,
        patch_size=16,
        embed_dim=128,
        depth=4,
        num_heads=4,
        num_classes=num_classes,
        global_pool=global_pool,
        embed_layer=ConvolutionalStem,
    )
