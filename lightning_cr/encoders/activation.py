"""The guard against GELU weights in a QuickGELU model and the reverse.

A plain state dict does not say with which activation it was trained, and the mix-up costs accuracy without any error.
So the activation is asked of whoever knows it: a tag of open_clip, a file of this package, the program inside a
TorchScript archive, a run name that says ``quickgelu``, or the user. Where nobody knows it, a warning says so.
"""

from __future__ import annotations

import warnings

from torch import nn

from lightning_cr.errors import CheckpointError, ConfigError

__all__ = ["ACTIVATIONS", "activation_of", "check_activation", "sibling"]

ACTIVATIONS = ("gelu", "quick_gelu")


def activation_of(model: nn.Module) -> str:
    """``quick_gelu`` or ``gelu`` for open_clip's own transformers, ``towers`` where timm and Hugging Face decide."""
    from open_clip.transformer import QuickGELU, ResidualAttentionBlock

    blocks = [module for module in model.modules() if isinstance(module, ResidualAttentionBlock)]
    if not blocks:
        return "towers"
    return "quick_gelu" if any(isinstance(block.mlp.gelu, QuickGELU) for block in blocks) else "gelu"


def sibling(name: str, activation: str) -> str:
    """The open_clip model of the same shape with the given activation, empty where there is none."""
    import open_clip

    name = name.replace("/", "-")
    plain = name.removesuffix("-quickgelu")
    other = f"{plain}-quickgelu" if activation == "quick_gelu" else plain
    return other if other != name and other in open_clip.list_models() else ""


def check_activation(name: str, computes: str, source: str, says: str, stated: str = "", made_for: str = "") -> None:
    """Refuses weights that were trained with another activation than the model's.

    Args:
        name: The model's name.
        computes: The model's activation.
        source: Tag or file of the weights, for messages.
        says: The activation that the source says it was trained with, or empty.
        stated: What the user says of the source (``EncoderConfig.activation``), or empty.
        made_for: The model that the source says it belongs to, or empty.

    Raises:
        CheckpointError: The weights were trained with another activation; the message names the right model.
        ConfigError: The user and the source say different things, or the user names no activation.
    """
    if stated and stated not in ACTIVATIONS:
        raise ConfigError(f"activation is '{stated}'; allowed are {' and '.join(ACTIVATIONS)}, or nothing")
    if computes == "towers":  # each tower's own definition fixes its activation: there is no choice to get wrong
        return
    if stated and says and stated != says:
        raise ConfigError(
            f"activation is '{stated}', but '{source}' was trained with {says}; leave --model.encoder.activation empty"
        )
    trained = stated or says
    if not trained:
        warnings.warn(
            f"'{source}' does not say with which activation it was trained; it is taken for {computes}, which '{name}' "
            "computes. Weights fine-tuned from OpenAI's need quick_gelu. To have it checked, say "
            f"--model.encoder.activation {' or '.join(ACTIVATIONS)}",
            stacklevel=2,
        )
    elif trained != computes:
        right = made_for if made_for and made_for != name else sibling(name, trained)
        way = (
            f"use --model.encoder.name {right}"
            if right
            else f"there is no '{name}' with {trained}; choose other weights"
        )
        raise CheckpointError(f"'{source}' was trained with {trained}, but '{name}' computes {computes}; {way}")
