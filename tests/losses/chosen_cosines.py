"""Cement-style rows on chosen cosines, for the tests of its properties.

With unit rows as images, a caption's entries *are* its cosines with them. The columns of the image rows are held apart
(``gathered``), so that their gradient is of the image rows alone, the only ones in which layout ``text`` has a margin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_cr.batch import Features
from lightning_cr.losses import CementLoss

ALPHAS = (1 / 0.07, 1 / 0.02, 1 / 0.01)  # the regimes of the specification's table
EASY = (7, 63, 1023)
SWEEP = pytest.mark.parametrize(("alpha", "easy"), [(a, k) for a in ALPHAS for k in EASY])


def term(**options: Any) -> CementLoss:
    return CementLoss(**{"layout": "text", "mode": "static", "m_max": 0.0} | options).double().train()


def cosines(easy: int, rows: int = 3, slots: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Of images with captions ``(rows, easy + 1)``, own in column i, and with false captions ``(rows, rows, slots)``.

    Own pairs lie near .30, own hard negatives near .27, all else is drawn from N(.12, .04).
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    captions, hard = 0.12 + 0.04 * noise(rows, easy + 1), 0.12 + 0.04 * noise(rows, rows, slots)
    own = torch.arange(rows)
    captions[own, own] = 0.30 + 0.01 * noise(rows)
    hard[own, own] = 0.27 + 0.01 * noise(rows, slots)
    return captions, hard


def made_of(captions: Tensor, hard: Tensor, alpha: float, c: Any = 1.0) -> Features:
    """Features of these cosines, for the image rows; the captions' own rows see no hard negative anyway."""
    rows, columns = captions.shape
    slots = hard.shape[2]

    def filled(*shape: int, values: Any) -> Tensor:
        """Items beyond the rows are captions alone."""
        whole = torch.zeros(columns, *shape, dtype=torch.as_tensor(values).dtype)
        whole[:rows] = torch.as_tensor(values)
        return whole

    mask = filled(slots, values=True)
    image = filled(rows, values=torch.eye(rows, dtype=torch.float64))
    everyone = Features(
        image=image,
        text=captions.T.clone().requires_grad_(),
        negative_text=filled(slots, rows, values=hard.permute(1, 2, 0)).requires_grad_(),
        negative_text_mask=mask,
        negative_image=image.new_zeros(columns, 0, rows),
        negative_image_mask=mask[:, :0],
        concreteness=filled(slots, values=torch.as_tensor(c, dtype=torch.float64)),
        kinds=tuple(f"kind{k}" for k in range(slots)),
        sample_ids=torch.arange(columns),
        image_ids=torch.arange(columns),
        logit_scale=torch.tensor(alpha, dtype=torch.float64, requires_grad=True),
    )
    local = {
        name: getattr(everyone, name)[:rows].detach().clone()
        for name in ("image", "text", "negative_text", "negative_text_mask", "concreteness", "sample_ids", "image_ids")
    }
    pictures = {"negative_image": everyone.negative_image[:rows], "negative_image_mask": mask[:rows, :0]}
    return replace(everyone, **local, **pictures, gathered=everyone)


@dataclass
class Pull:
    """Gradient of the image rows, in cosines, of the sum over rows of each row's own loss."""

    captions: Tensor  # (rows, columns)
    hard: Tensor  # (rows, rows, slots)
    value: float  # mean over the rows, and that of the caption rows, which no margin changes

    @property
    def own(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of positive, own hard negatives and all others, each ``(rows,)``."""
        own = torch.arange(len(self.captions))
        positive, hard = self.captions[own, own], self.hard[own, own].sum(-1)
        return positive, hard, self.captions.sum(1) - positive + self.hard.sum((1, 2)) - hard


def pull(loss: CementLoss, features: Features) -> Pull:
    value = loss(features).value
    found = torch.autograd.grad(value, [features.all.text, features.all.negative_text])
    rows = len(features)
    text, negative = (2 * rows * g for g in found)
    return Pull(text.T, negative[:rows].permute(2, 0, 1), 2 * value.item())


def log_odds(p: Any) -> Any:
    return torch.log(p / (1 - p))


def share(found: Pull) -> Tensor:
    _, hard, easy = found.own
    return hard / (hard + easy)
