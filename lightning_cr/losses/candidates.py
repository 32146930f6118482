"""What an anchor is set against: its own counterpart, and the negatives that exist; for terms that treat them apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lightning_cr.batch import Features
from lightning_cr.losses.base import cosine, one_of

__all__ = ["Candidates", "Scope", "image_candidates", "needs_of", "text_candidates"]

Scope = Literal["none", "own", "all"]


@dataclass
class Candidates:
    """The logits of the local anchors.

    Attributes:
        own: ``(B,)``, of each anchor with its own counterpart.
        others: ``(B, C)``, with everything else, of all ranks.
        valid: ``(B, C)`` bool, which of them are negatives: not the own counterpart, not another caption or copy of
            the same image, not an empty slot.
    """

    own: Tensor
    others: Tensor
    valid: Tensor


def needs_of(hard_negatives: Scope) -> frozenset[str]:
    """What a term with these hard negatives needs.

    Raises:
        ConfigError: No such scope.
    """
    one_of("hard_negatives", hard_negatives, ("none", "own", "all"))
    return frozenset() if hard_negatives == "none" else frozenset({"negative_text"})


def image_candidates(features: Features, hard_negatives: Scope) -> Candidates:
    """Images against captions.

    Args:
        features: Local rows and the gathered view.
        hard_negatives: Hard negative captions beside the other captions: ``none``, the image's ``own``, or those of
            ``all`` images. One of another caption of the same image stays in: it is false for that image all the same.
    """
    image, everyone = features.logit_scale * features.image, features.all
    others, valid = [image @ everyone.text.T], [_elsewhere(features)]
    if hard_negatives == "own":
        others.append(cosine(image, features.negative_text))
        valid.append(features.negative_text_mask)
    elif hard_negatives == "all":
        others.append(image @ everyone.negative_text.flatten(0, 1).T)
        valid.append(everyone.negative_text_mask.flatten().expand_as(others[-1]))
    return Candidates(_own(image, features.text), torch.cat(others, dim=1), torch.cat(valid, dim=1))


def text_candidates(features: Features) -> Candidates:
    """Captions against images."""
    text = features.logit_scale * features.text
    return Candidates(_own(text, features.image), text @ features.all.image.T, _elsewhere(features))


def _own(anchor: Tensor, counterpart: Tensor) -> Tensor:
    return cosine(anchor, counterpart.unsqueeze(1)).squeeze(1)


def _elsewhere(features: Features) -> Tensor:
    """``(B, W * B)`` bool: rows that show another image."""
    elsewhere = ~features.same_image
    elsewhere[torch.arange(len(features), device=elsewhere.device), features.targets] = False
    return elsewhere
