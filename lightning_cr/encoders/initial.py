"""The weights that a run began with, beside those that it trains."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lightning_cr.encoders.base import Encoder, EncoderConfig
from lightning_cr.encoders.build import build_encoder
from lightning_cr.errors import CheckpointError

__all__ = ["Start", "fingerprint"]


@dataclass
class Start:
    """What the weights that a run began with are made of: the same again gives the same weights.

    Checkpoints hold this and not the weights, so that a run that goes on, and weights between start and end, find them
    where the run took them.

    Attributes:
        pretrained: ``pretrained`` of the configuration.
        rng: State of torch's global generator, for what no file says: random weights, heads that a tower lacks.
        fingerprint: Digest of the weights; empty where they were never seen.
    """

    pretrained: str
    rng: Tensor = field(default_factory=torch.get_rng_state)
    fingerprint: str = ""

    def encoder(self, config: EncoderConfig) -> Encoder:
        """Builds the encoder with the initial weights, frozen and in evaluation mode.

        Args:
            config: Of the encoder that trains; chunks are as large.

        Raises:
            CheckpointError: The weights are gone, or others stand in their place.
        """
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.rng)
            try:
                encoder = build_encoder(replace(config, pretrained=self.pretrained, gradient_checkpointing=False))
            except CheckpointError as error:
                raise CheckpointError(f"the weights that the run began with are needed, but {error}") from error
        found = fingerprint(encoder)
        if self.fingerprint not in ("", found):
            raise CheckpointError(
                f"the weights that the run began with are needed, but '{self.pretrained}' holds others now; put them"
                " back, or start anew"
            )
        self.fingerprint = found
        return encoder.requires_grad_(False).eval()

    def seen(self, encoder: Encoder) -> None:
        """Takes the digest of the initial weights, by which others in their place are noticed."""
        self.fingerprint = fingerprint(encoder)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return asdict(self)


def fingerprint(encoder: Encoder) -> str:
    """Digest of the weights by name."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
