"""Features to try a term on: random, seeded, with gaps; and what is asked of a term that sees them."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_cr.batch import Features
from lightning_cr.losses.base import Loss
from lightning_cr.negatives.image import VisualPerturbation

Images = Literal["none", "pixels", "paired", "perturbation"]  # pixels: 2 a row; paired: one to each slot of text
MASKED = ("negative_text", "negative_image", "positive_text")
VECTORS = ("image", "text", *MASKED)


def kind_names(count: int) -> tuple[str, ...]:
    return tuple(f"kind{k}" for k in range(count))


def picture_slots(images: Images, slots: int) -> int:
    return {"pixels": 2, "paired": slots}.get(images, 0)


def make_features(
    seed: int = 0,
    rows: int = 5,
    slots: int = 3,
    images: Images = "none",
    dtype: torch.dtype = torch.float64,
    scale: float = 12.0,
    dim: int = 6,
    masked: bool = True,
) -> Features:
    """Unit vectors as leaves with gradient; captions near their image, hard negatives near their caption.

    With ``masked``: slot 0 of every row but the first, all slots of the last row, and some others are empty; the last
    two rows show one image. Of two positive texts row 1 has none, and the others one or two.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = partial(torch.randn, generator=generator, dtype=torch.float64)
    pictures = picture_slots(images, slots)
    image = normalize(noise(rows, dim), dim=-1)
    text = normalize(image + 0.5 * noise(rows, dim), dim=-1)
    negative_text = normalize(text[:, None] + 0.4 * noise(rows, slots, dim), dim=-1)
    negative_image = normalize(image[:, None] + 0.4 * noise(rows, pictures, dim), dim=-1)
    masks = [torch.rand(rows, n, generator=generator) < 0.7 for n in (slots, pictures)]
    for mask in masks:
        mask[:1] = True
        if masked and rows > 1:
            mask[1:, :1] = False
            mask[-1] = False
        elif not masked:
            mask[:] = True
    ids = torch.arange(rows)
    if rows > 2:
        ids[-1] = ids[-2]
    positive_text, positive_mask = positives(text, seed, masked)
    features = Features(
        image=image,
        text=text,
        negative_text=negative_text * masks[0][..., None],
        negative_text_mask=masks[0],
        negative_image=negative_image * masks[1][..., None],
        negative_image_mask=masks[1],
        concreteness=torch.rand(rows, slots, generator=generator, dtype=torch.float64) * masks[0],
        kinds=kind_names(slots),
        sample_ids=torch.arange(rows),
        image_ids=ids,
        logit_scale=torch.tensor(scale, dtype=torch.float64),
        positive_text=normalize(positive_text, dim=-1) * positive_mask[..., None],
        positive_text_mask=positive_mask,
        initial_image=normalize(image + 0.3 * noise(rows, dim), dim=-1),
        initial_text=normalize(text + 0.3 * noise(rows, dim), dim=-1),
    )
    if images == "perturbation":
        features = VisualPerturbation()(features)
    return as_leaves(features, dtype)


def positives(text: Tensor, seed: int, masked: bool) -> tuple[Tensor, Tensor]:
    """Texts near the captions; a generator of its own, so that all else stays what it was."""
    generator = torch.Generator().manual_seed(seed + 500)
    noise = torch.randn(len(text), 2, text.shape[1], generator=generator, dtype=torch.float64)
    mask = torch.rand(len(text), 2, generator=generator) < 0.6
    mask[:, 0] = True
    if masked:
        mask[1:2] = False
    return text[:, None] + 0.4 * noise, mask


def as_leaves(features: Features, dtype: torch.dtype | None = None) -> Features:
    """Copies whose floating tensors are leaves; the vectors and the logit scale have a gradient."""
    changed: dict[str, Any] = {}
    for field in fields(features):
        value = getattr(features, field.name)
        if isinstance(value, Tensor) and value.is_floating_point():
            changed[field.name] = value.detach().clone().to(dtype or value.dtype)
            changed[field.name].requires_grad_(field.name in (*VECTORS, "logit_scale"))
    return replace(features, **changed)


def leaves(features: Features) -> dict[str, Tensor]:
    return {name: getattr(features, name) for name in (*VECTORS, "logit_scale")}


def gradients(value: Tensor, features: Features) -> dict[str, Tensor]:
    wanted = leaves(features)
    found = torch.autograd.grad(value, list(wanted.values()), allow_unused=True)
    return {n: torch.zeros_like(w) if g is None else g for (n, w), g in zip(wanted.items(), found, strict=True)}


def bound(loss: Loss, slots: int, dtype: torch.dtype = torch.float64) -> Loss:
    """A copy in training mode that knows its kinds."""
    loss = copy.deepcopy(loss).to(dtype)
    loss.bind(kind_names(slots))
    return loss.train()


def logit(f: Features, a: Tensor, b: Tensor) -> float:
    """For oracles: the logit of two vectors in plain Python."""
    return f.logit_scale.item() * sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))
