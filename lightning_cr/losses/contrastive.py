"""Symmetric cross-entropy between images and captions, with or without hard negatives."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from lightning_cr.batch import Features
from lightning_cr.losses.base import Loss, Term, cosine, hide, one_of, require_negative_image

__all__ = ["ContrastiveLoss", "Scope"]

Scope = Literal["none", "own", "all"]


class ContrastiveLoss(Loss):
    r"""CLIP's loss; with hard negatives that of NegCLIP and CE-CLIP.

    In logits, :math:`s` the logit scale, over the captions j and hard negatives :math:`N_{jk}` of all ranks:

    .. math::
        L = \tfrac12 \operatorname{mean}_i \Big[
            \log \big( \sum_j e^{s I_i T_j} + \sum_{jk} m_{jk} e^{s I_i N_{jk}} \big)
            + \log \sum_j e^{s T_i I_j} - 2 s I_i T_i \Big]

    Two captions of one image are left out of each other's sums, in both directions (the public trainers take them for
    negatives). ``none`` is CLIP (arXiv 2103.00020, fig. 3); ``all`` is NegCLIP (arXiv 2210.01936) and the ITC with
    hard negatives of CE-CLIP (``src/open_clip/loss.py``), which however keeps invalid negatives in the sum; ``own``
    is for ablation.

    Args:
        weight: Factor in the sum of terms.
        hard_negatives: Hard negative captions in the rows of an image: ``none``, its ``own``, or those of ``all``
            images.
        image_negatives: Negative images in the rows of a caption, likewise. No paper named here does this; it is the
            joint layout of image and text negatives with one anchor each.
    """

    def __init__(self, weight: float = 1.0, hard_negatives: Scope = "none", image_negatives: Scope = "none") -> None:
        super().__init__(weight)
        one_of("hard_negatives", hard_negatives, ("none", "own", "all"))
        one_of("image_negatives", image_negatives, ("none", "own", "all"))
        self.hard_negatives = hard_negatives
        self.image_negatives = image_negatives
        wanted = {"negative_text": hard_negatives, "negative_image": image_negatives}
        self.needs = frozenset(name for name, scope in wanted.items() if scope != "none")

    def forward(self, features: Features) -> Term:
        """Computes the term; reports ``accuracy`` and ``logit_scale``.

        ``accuracy`` is the share of local images whose own caption is ahead of every other column; a tie is wrong.
        """
        everyone = features.all
        image = features.logit_scale * features.image
        text = features.logit_scale * features.text
        other = ~features.same_image
        image_rows = [hide(image @ everyone.text.T, other)]
        text_rows = [hide(text @ everyone.image.T, other)]
        if self.hard_negatives == "own":
            image_rows.append(hide(cosine(image, features.negative_text), features.negative_text_mask))
        elif self.hard_negatives == "all":
            # A hard negative of another caption of the same image stays in: it is false for that image all the same.
            image_rows.append(
                hide(image @ everyone.negative_text.flatten(0, 1).T, everyone.negative_text_mask.flatten())
            )
        if self.image_negatives != "none":
            require_negative_image(features, "ContrastiveLoss with image_negatives")
        if self.image_negatives == "own":
            text_rows.append(hide(cosine(text, features.negative_image), features.negative_image_mask))
        elif self.image_negatives == "all":
            # But a picture that is false for one caption of an image may be true for its other captions: out.
            valid = other.unsqueeze(-1) & everyone.negative_image_mask
            text_rows.append(hide(text @ everyone.negative_image.flatten(0, 1).T, valid.flatten(1)))
        logits = torch.cat(image_rows, dim=1)
        value = functional.cross_entropy(logits, features.targets)
        value = value + functional.cross_entropy(torch.cat(text_rows, dim=1), features.targets)
        report = {
            "accuracy": _accuracy(logits.detach(), features.targets),
            "logit_scale": features.logit_scale.detach(),
        }
        return Term(value / 2, report)


def _accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    own = logits.gather(1, targets.unsqueeze(1))
    return ((logits >= own).sum(1) == 1).to(logits.dtype).mean()
