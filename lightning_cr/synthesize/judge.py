"""Whether a picture shows what its wrong caption says, by a frozen dual encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor, nn

from lightning_cr.encoders import EncoderConfig, build_encoder, resize_and_crop
from lightning_cr.encoders.base import tokenize

__all__ = ["FilterConfig", "Judge"]


@dataclass
class FilterConfig:
    """Which encoder judges, and what it must prefer.

    The margins of every picture stand in the store, so that training can ask for others than these.

    Attributes:
        encoder: Frozen; a pretrained one, or its margins say nothing.
        min_text_margin: Cosine by which the negative caption must at least be nearer to the picture that was made than
            to the original.
        min_image_margin: Cosine by which the caption must at least be nearer to the original than to the picture that
            was made.
        drop: Whether to leave out what it does not prefer, for good; else it is counted only.
    """

    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig("ViT-B-32-quickgelu", "openai"))
    min_text_margin: float = 0.0
    min_image_margin: float = 0.0
    drop: bool = False

    def keeps(self, text_margin: float | None, image_margin: float | None) -> bool:
        """Whether both margins are at least what is asked for, as in training, or there are none."""
        if text_margin is None or image_margin is None:
            return True
        return text_margin >= self.min_text_margin and image_margin >= self.min_image_margin


class Judge(nn.Module):
    r"""The margins of an original :math:`I` of caption :math:`T`, and of the picture :math:`J` of negative :math:`N`.

    .. math:: m_{text} = \cos(J, N) - \cos(I, N), \qquad m_{image} = \cos(I, T) - \cos(J, T)

    Args:
        config: Of the encoder.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = build_encoder(config).eval().requires_grad_(False)

    def pixels(self, image: Image.Image) -> Tensor:
        """``(3, S, S)`` uint8 as the encoder takes them."""
        return resize_and_crop(image, self.encoder.preprocess)

    @torch.no_grad()
    def forward(
        self, originals: Tensor, made: Tensor, captions: Sequence[str], negatives: Sequence[str]
    ) -> tuple[list[float], list[float]]:
        """The text margins and the image margins of B pairs.

        Args:
            originals: ``(B, 3, S, S)`` uint8.
            made: Likewise.
            captions: B true ones.
            negatives: B wrong ones.
        """
        device = originals.device
        image, picture = self.encoder.encode_image(torch.cat([originals, made])).chunk(2)
        tokens = tokenize(self.encoder.tokenizer, [*captions, *negatives]).to(device)
        text, negative = self.encoder.encode_text(tokens).chunk(2)
        text_margin = ((picture - image) * negative).sum(1)
        image_margin = ((image - picture) * text).sum(1)
        return text_margin.tolist(), image_margin.tolist()
