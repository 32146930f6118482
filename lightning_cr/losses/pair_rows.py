"""Rows of logits between pairs and the false pairs made of them; part of the base of the Cement-style term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import require_negative_image

__all__ = ["Layout", "MarginScope", "Rows", "pair_rows"]

Layout = Literal["joint", "triplet", "text"]
MarginScope = Literal["own", "all"]


@dataclass
class Rows:
    """One direction: A anchors of this rank against C candidates of all ranks.

    Attributes:
        cosines: ``(A, C)``.
        valid: ``(A, C)`` bool, the candidates that an anchor is compared with, its positive among them.
        positive: ``(A, C)`` bool, exactly one a row.
        hard: ``(A, C)`` bool, the anchor's own hard negatives.
        margin: ``(A, C)``, 0 wherever there is none.
        exists: ``(A,)`` bool, the anchors that exist.
    """

    cosines: Tensor
    valid: Tensor
    positive: Tensor
    hard: Tensor
    margin: Tensor
    exists: Tensor


def pair_rows(features: Features, margin: Tensor, layout: Layout, scope: MarginScope) -> tuple[Rows, Rows]:
    """Rows of the images against captions, and of the captions against images.

    Member 0 of an item is its true pair, member k its false caption in slot k - 1 with the picture in slot k - 1. A
    true and a false member of one item are each other's hard negatives.

    - ``joint``: every member is an anchor against all members, 2N x 2N for K = 1. A false pair is an anchor where both
      its caption and its picture exist; a caption without a picture is still a candidate, and so is a picture.
    - ``triplet``: likewise, but captions are compared only with pictures of their own sort, true with true and false
      with false: TripletCLIP's NegCLIP(I, T; T') + NegCLIP(I', T'; T), as a mean over all anchors.
    - ``text``: images against captions and false captions, captions against images; no false pictures (NegCLIP).

    Other captions of an anchor's image are left out, and so are their false pictures, and for a false picture their
    captions, true or false: they may be true of it. A false caption stays in against the picture it was made false for.

    Args:
        features: Of this rank, gathered.
        margin: ``(N, K)`` of all ranks.
        layout: See above.
        scope: ``own``: the margin stands on an anchor's own hard negatives; ``all``: on those of the others too, each
            with the margin of its own slot (a true candidate, for false anchor k, with that of its item's slot k).

    Raises:
        ConfigError: ``joint`` or ``triplet`` without pictures, or with more or fewer of them than captions.
    """
    everyone = features.all
    pictured = layout != "text"
    if pictured:
        require_negative_image(features, f"CementLoss with layout {layout}")
        captions, pictures = features.negative_text.shape[1], features.negative_image.shape[1]
        if captions != pictures:
            raise ConfigError(
                f"CementLoss with layout {layout} pairs false caption k with false picture k, but the features hold"
                f" {captions} captions and {pictures} pictures a sample; use layout: text, or data that bring both"
            )
    text, is_text = _members(features.text, features.negative_text, features.negative_text_mask)
    image, is_image = _members(features.image, features.negative_image, features.negative_image_mask)
    texts, are_texts = _members(everyone.text, everyone.negative_text, everyone.negative_text_mask)
    images, are_images = _members(everyone.image, everyone.negative_image, everyone.negative_image_mask)
    members = image.shape[1] if pictured else 1
    exists = is_text[:, :members] & is_image[:, :members]
    by_slot = torch.cat([margin.new_zeros(len(margin), 1), margin], dim=1)
    image_rows = _rows(features, image[:, :members], exists, texts, are_texts, by_slot, scope)
    text_rows = _rows(
        features, text[:, :members], exists, images[:, :members], are_images[:, :members], by_slot, scope, layout, False
    )
    return image_rows, text_rows


def _members(true: Tensor, false: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """``(B, 1 + K, D)`` members of the items, and which exist."""
    there = torch.cat([mask.new_ones(len(mask), 1), mask], dim=1)
    return torch.cat([true.unsqueeze(1), false], dim=1), there


def _rows(
    features: Features,
    anchors: Tensor,
    exists: Tensor,
    candidates: Tensor,
    there: Tensor,
    margin: Tensor,
    scope: MarginScope,
    layout: Layout = "joint",
    captions_are_candidates: bool = True,
) -> Rows:
    """Axes of the masks: item and member of the anchor, item and member of the candidate."""
    size = (*anchors.shape[:2], *candidates.shape[:2])
    k = torch.arange(size[1], device=anchors.device)[:, None]
    l = torch.arange(size[3], device=anchors.device)[None, :]  # noqa: E741 (the page's letter)
    crossing = (k == 0) != (l == 0)
    # The false caption of another caption of the image is false for the image all the same; nothing else is certain.
    false_caption = crossing & ((l if captions_are_candidates else k) > 0)
    own = torch.arange(size[2], device=anchors.device) == features.targets[:, None]
    valid = there & (~features.same_image[:, None, :, None] | false_caption[None, :, None, :])
    if layout == "triplet":
        valid = valid & ~crossing[None, :, None, :]
    hard = valid & own[:, None, :, None] & crossing[None, :, None, :]
    marked = hard if scope == "own" else valid & crossing[None, :, None, :]
    shift = margin[:, torch.maximum(k, l)].transpose(0, 1).unsqueeze(0)  # (1, members, N, members)
    flat = (size[0] * size[1], size[2] * size[3])
    return Rows(
        cosines=anchors.flatten(0, 1) @ candidates.flatten(0, 1).T,
        valid=valid.expand(size).reshape(flat),
        positive=(own[:, None, :, None] & (k == l)[None, :, None, :]).reshape(flat),
        hard=hard.reshape(flat),
        margin=torch.where(marked, shift, 0.0).reshape(flat),
        exists=exists.flatten(),
    )
