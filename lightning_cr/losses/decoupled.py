"""Decoupled contrastive loss: the positive pair is no candidate of its own softmax."""

from __future__ import annotations

from torch import Tensor

from lightning_cr.batch import Features
from lightning_cr.losses.base import Loss, Term, hide
from lightning_cr.losses.candidates import Candidates, Scope, image_candidates, needs_of, text_candidates

__all__ = ["DecoupledContrastiveLoss"]


class DecoupledContrastiveLoss(Loss):
    r"""DCL between images and captions, with or without hard negatives.

    In logits, :math:`p_i = s I_i T_i`, with the negatives of image i (other captions, hard negatives) in
    :math:`\mathcal N_i` and those of its caption (other images) in :math:`\mathcal M_i`:

    .. math::
        L = \tfrac12 \operatorname{mean}_i \Big[
            \log \sum_{z \in \mathcal N_i} e^{z} - p_i + \log \sum_{z \in \mathcal M_i} e^{z} - p_i \Big]

    Yeh et al. 2022, Decoupled Contrastive Learning (arXiv 2110.06848): the positive is dropped from the denominator,
    so that an easy positive no longer damps the push of the negatives. The paper contrasts two views of images, each
    also with its own kind, and adds both directions; **our reading** for two towers: across the towers only, halved
    as CLIP's loss is. Not here: its weighting of positives (DCLW). The value may be negative.

    An anchor without any negative adds nothing: alone, its positive would be pulled without a counterweight.

    Args:
        weight: Factor in the sum of terms.
        hard_negatives: Hard negative captions in the rows of an image: ``none``, its ``own``, or those of ``all``.
    """

    def __init__(self, weight: float = 1.0, hard_negatives: Scope = "all") -> None:
        super().__init__(weight)
        self.needs = needs_of(hard_negatives)
        self.hard_negatives = hard_negatives

    def forward(self, features: Features) -> Term:
        """Computes the term; reports its halves ``image`` and ``text``, the rows of images and of captions."""
        image = _decoupled(image_candidates(features, self.hard_negatives))
        text = _decoupled(text_candidates(features))
        return Term((image + text) / 2, {"image": image.detach(), "text": text.detach()})


def _decoupled(rows: Candidates) -> Tensor:
    lead = hide(rows.others, rows.valid).logsumexp(1) - rows.own
    return lead.masked_fill(~rows.valid.any(1), 0.0).mean()
