"""The door of an encoder: uint8 pixels and tokens in, unit vectors in fp32 out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ["Encoder", "EncoderConfig", "Preprocess", "Tokenizer", "is_cut", "tokenize"]

LOG_SCALE_LIMIT = 4.6052  # ln 100: CLIP's clamp of the logarithm of the logit scale


@dataclass
class EncoderConfig:
    """Which towers, from which weights, and which of them train.

    Attributes:
        name: An open_clip model name (``ViT-B-32-quickgelu``); a folder or repository in its format (``local-dir:DIR``,
            ``hf-hub:ORG/REPO``); or one of this package's: ``scenes-tiny`` (the embedded world's), ``lite0-minilm``
            (EfficientNet-lite0 and MiniLM from their packages), ``photos-tiny`` (CLIP's shape and tokenizer, too small
            to learn much: for a quick look at a run on photographs).
        pretrained: A tag that open_clip knows (``openai``), a local file (open_clip state dict, or a checkpoint of this
            package), or empty for random weights. ``base`` is the shipped weights of ``scenes-tiny``, or the packages'
            weights of ``lite0-minilm``, whose towers were never trained together. A folder or repository brings its own
            weights (empty or ``base``); a file is loaded over them.
        freeze_image: Keep the image tower as it is.
        freeze_text: Keep the text tower as it is.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, more time.
        micro_batch_size: Encode this many rows at a time under checkpointing, so that a big batch needs the memory of
            one chunk; 0 encodes all rows at once. Features and gradients are the same.
        activation: What the weights were trained with, ``gelu`` or ``quick_gelu``, for a file that does not say it
            itself; empty trusts the file or the tag. A mismatch with the model's own activation is refused.
        length_groups: Encode a batch's captions in so many groups of like length, each cut to its own longest; 1 cuts
            all to the longest of the batch. Exact: it only leaves padding out.
        shorten: Cut tokens to the batch's longest caption where that is exact; false encodes the full context, as the
            public trainers do (for comparison).
    """

    name: str = "scenes-tiny"
    pretrained: str = "base"
    freeze_image: bool = False
    freeze_text: bool = False
    gradient_checkpointing: bool = False
    micro_batch_size: int = 0
    activation: str = ""
    length_groups: int = 4
    shorten: bool = True


class Tokenizer(Protocol):
    """Turns captions into rows of token ids."""

    pad_id: int
    shortens: bool
    """Whether columns that hold only padding may be cut without changing an embedding."""

    def __call__(self, texts: Sequence[str], context_length: int | None = None) -> Tensor:
        """``(N, context_length)`` int64, truncated and padded with ``pad_id``; the tower's own length unless given."""
        ...


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Tokens ``(N, L)``, cut to the longest text where the tower allows it, else the full context."""
    tokens = tokenizer(texts)
    if not tokenizer.shortens or tokens.shape[0] == 0:
        return tokens
    used = (tokens != tokenizer.pad_id).any(dim=0).nonzero()
    return tokens[:, : int(used[-1]) + 1]


def is_cut(tokenizer: Tokenizer, texts: Sequence[str], tokens: Tensor) -> Tensor:
    """``(N,)`` bool, which texts lose something: one column more would hold one token more.

    Args:
        tokenizer: That of the tower.
        texts: N texts.
        tokens: ``(N, context_length)``, what it gives for them.
    """
    roomier = tokenizer(texts, tokens.shape[1] + 1)
    return (roomier != tokenizer.pad_id).sum(1) > (tokens != tokenizer.pad_id).sum(1)


@dataclass(frozen=True)
class Preprocess:
    """How pixels reach the image tower: the loader resizes and crops to uint8, the encoder normalises.

    Attributes:
        size: Side of the square input, in pixels.
        mean: Per channel, of pixels in [0, 1].
        std: Per channel, of pixels in [0, 1].
        interpolation: ``bicubic`` or ``bilinear``.
        resize_mode: ``shortest`` (shorter side to ``size``, centre crop), ``longest`` (longer side, padded with black)
            or ``squash`` (both sides, the aspect ratio is lost).
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"


class Encoder(nn.Module, ABC):
    """Two towers into one space.

    Attributes:
        config: What it was built from.
        tokenizer: For the text tower.
        preprocess: For the image tower.
        activation: ``gelu`` or ``quick_gelu`` (or the towers' own name), stored in every checkpoint.
        dim: Size D of the shared space.
        log_logit_scale: Parameter; the logarithm of the factor from cosine to logit.
    """

    config: EncoderConfig
    tokenizer: Tokenizer
    preprocess: Preprocess
    activation: str
    dim: int
    log_logit_scale: nn.Parameter

    @abstractmethod
    def encode_image(self, images: Tensor) -> Tensor:
        """``(N, 3, H, W)`` uint8 to ``(N, D)`` unit vectors in fp32; N may be 0."""

    @abstractmethod
    def encode_text(self, tokens: Tensor) -> Tensor:
        """``(N, L)`` token ids, L at most the context length, to ``(N, D)`` unit vectors in fp32; N may be 0."""

    @property
    def logit_scale(self) -> Tensor:
        """Factor from cosine to logit, fp32 scalar."""
        return self.log_logit_scale.float().exp()

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Keeps the logit scale in [1, 100], as CLIP does after each optimiser step."""
        self.log_logit_scale.clamp_(0.0, LOG_SCALE_LIMIT)
