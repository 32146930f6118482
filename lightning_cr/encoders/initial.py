"""The weights that a run began with, beside those that it trains."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch

from lightning_cr.encoders.base import Encoder, EncoderConfig
from lightning_cr.encoders.build import build_encoder
from lightning_cr.errors import CheckpointError, ConfigError

__all__ = ["fingerprint", "has_initial_weights", "initial_encoder"]


def has_initial_weights(config: EncoderConfig, began_with: str) -> bool:
    """Whether a run began with weights that can be had again; random ones cannot, and are not worth keeping."""
    return bool(began_with) or config.name.startswith(("hf-hub:", "local-dir:"))


def initial_encoder(config: EncoderConfig, began_with: str) -> Encoder:
    """Builds the encoder with the weights that a run began with, frozen and in evaluation mode.

    They come from where the run took them, at its start as after a resume, and are in no checkpoint.

    Args:
        config: Of the encoder that trains; chunks are as large.
        began_with: ``pretrained`` at the run's start; a run that goes on has its checkpoint there.

    Raises:
        ConfigError: The run began with random weights.
        CheckpointError: They cannot be found any more.
    """
    if not has_initial_weights(config, began_with):
        raise ConfigError(
            "the run begins with random weights, and there is nothing to keep of them; name weights in"
            " --model.encoder.pretrained"
        )
    try:
        encoder = build_encoder(replace(config, pretrained=began_with, gradient_checkpointing=False))
    except CheckpointError as error:
        raise CheckpointError(f"the weights that the run began with are needed, but {error}") from error
    return encoder.requires_grad_(False).eval()


def fingerprint(encoder: Encoder) -> str:
    """A digest of all weights, by which a run that goes on knows that they are the same."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
