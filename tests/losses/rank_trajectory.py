"""Training on two ranks with different data, held against one process with both."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from gloo_ranks import Ranks
from loss_features import MASKED, VECTORS, Images, bound, kind_names, picture_slots, positives
from torch import Tensor
from torch.nn.functional import normalize

from lightning_cr import distributed
from lightning_cr.batch import Features
from lightning_cr.losses.base import Loss
from lightning_cr.negatives.image import VisualPerturbation

ROWS = 4  # a rank


def check_two_ranks(loss: Loss, images: Images, slots: int, ranks: Ranks) -> None:
    expected = trajectory(loss, images, slots, 0, 1)
    found = ranks.run(trajectory, loss, images, slots)
    for step, (one, *shares) in enumerate(zip(expected, *found, strict=True)):
        for name, whole in one.items():
            parts = [share[name] for share in shares]
            if name.startswith("row"):
                parts = [np.concatenate(parts)]
            for part in parts:
                np.testing.assert_allclose(part, whole, rtol=1e-9, atol=1e-12, err_msg=f"step {step}, {name}")


def trajectory(loss: Loss, images: Images, slots: int, rank: int, world: int) -> list[dict[str, np.ndarray]]:
    """Five optimiser steps as DDP does them: the mean over ranks of the shared gradients; data from the step alone."""
    loss = bound(loss, slots)
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(8, 6, generator=generator, dtype=torch.float64) for _ in range(2)]
    shared = [*weights, torch.tensor(2.5, dtype=torch.float64)]
    steps = []
    for step in range(5):
        if step == 4:
            loss.on_epoch_start()
        whole = _raw(step, 2 * ROWS, slots, images)
        per_rank = 2 * ROWS // world
        mine = {n: v[rank * per_rank : (rank + 1) * per_rank] for n, v in whole.items()}
        rows = {n: mine[n].clone().requires_grad_() for n in VECTORS}
        shared = [p.detach().requires_grad_() for p in shared]
        term = loss(_encode(rows, mine, shared, slots, images).gather())
        inputs = [*shared, *rows.values()]
        found = torch.autograd.grad(term.value, inputs, allow_unused=True)
        filled = [torch.zeros_like(i) if g is None else g for i, g in zip(inputs, found, strict=True)]
        means = [distributed.all_reduce_sum(g) / world for g in filled[:3]]
        shared = [p.detach() - 0.05 * g for p, g in zip(shared, means, strict=True)]
        record = {"value": distributed.all_reduce_sum(term.value) / world}
        record |= {f"gradient {n}": g for n, g in zip(("image", "text", "scale"), means, strict=True)}
        # The gathering sums over ranks and DDP divides; so does this for the rows, which are no one else's.
        record |= {f"row {n}": g / world for n, g in zip(rows, filled[3:], strict=True)}
        record |= {f"buffer {n}": b for n, b in loss.named_buffers()}
        steps.append({n: v.detach().numpy() for n, v in record.items()})
    return steps


def _raw(step: int, rows: int, slots: int, images: Images) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1000 + step)
    noise = partial(torch.randn, generator=generator, dtype=torch.float64)
    image = noise(rows, 8)
    text = image + 0.3 * noise(rows, 8)
    masks = {}
    pictures = picture_slots(images, slots)
    for name, count, share in (("negative_text_mask", slots, 0.6), ("negative_image_mask", pictures, 0.5)):
        mask = torch.rand(rows, count, generator=generator) < share
        if step == 0:
            mask[:ROWS] = True  # rank 0 holds all, rank 1 some: other counts on each
        if step == 1:
            mask[:ROWS, -1:] = False  # a kind absent on rank 0 only
            mask[ROWS:, -1:] = True
        if step == 2:
            mask[:, :1] = False  # a kind absent everywhere: its threshold is carried
        if step == 3:
            mask[ROWS:] = False  # rank 1 has no negative at all
        masks[name] = mask
    positive_text, positive_mask = positives(text, 2000 + step, True)
    image_ids = torch.arange(rows)
    image_ids[-1] = 1  # two captions of one image, on different ranks
    return {
        "image": image,
        "text": text,
        "negative_text": text[:, None] + 0.3 * noise(rows, slots, 8),
        "negative_image": image[:, None] + 0.3 * noise(rows, pictures, 8),
        "concreteness": torch.rand(rows, slots, generator=generator, dtype=torch.float64),
        "image_ids": image_ids,
        "sample_ids": torch.arange(rows),
        "positive_text": positive_text,
        "positive_text_mask": positive_mask,
        **masks,
        "initial_image": normalize(image + 0.2 * noise(rows, 8), dim=-1)[:, :6],
        "initial_text": normalize(text + 0.2 * noise(rows, 8), dim=-1)[:, :6],
    }


def _encode(
    rows: dict[str, Tensor], mine: dict[str, Tensor], shared: list[Tensor], slots: int, images: Images
) -> Features:
    vectors = {n: normalize(rows[n] @ shared["text" in n], dim=-1) for n in VECTORS}
    for name in MASKED:
        mask = mine[f"{name}_mask"][..., None]
        vectors[name] = torch.where(mask, vectors[name], torch.zeros_like(vectors[name]))
    rest = {n: v for n, v in mine.items() if n not in VECTORS}
    features = Features(**vectors, **rest, kinds=kind_names(slots), logit_scale=shared[2].exp())
    return VisualPerturbation()(features) if images == "perturbation" else features
