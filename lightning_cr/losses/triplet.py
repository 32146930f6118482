"""Hard negatives as pairs of their own: a false caption and the picture that it is true of."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Loss, Term, cosine, hide, masked_mean, require_negative_image

__all__ = ["TripletContrastiveLoss"]


class TripletContrastiveLoss(Loss):
    r"""TripletCLIP's loss: NegCLIP's on the true pairs, and once more on the negative pairs, roles exchanged.

    With NegCLIP(X, Y; Z) half the sum of the cross-entropies of the pictures X over the captions Y and Z, and of the
    captions Y over the pictures X:

    .. math:: L = \operatorname{NegCLIP}(I, T; T') + w \operatorname{NegCLIP}(I', T'; T)

    TripletCLIP (Patel et al. 2024, arXiv 2411.02545), read from ``src/openclip/src/loss.py``: the halves are added, and
    the rows of a caption never see the pictures of the other half.

    **Pairs.** Slot k of the negative captions and slot k of the negative images are one pair, so J must be K; the
    sources and ``VisualPerturbation`` give it so. The public code has one pair a sample; for K of them the second half
    runs over all pairs that are whole, and its mean too (**our reading**). A false caption without a picture takes part
    in the first half alone. What comes of another caption of the same image is left out of the second half, in both
    directions: it may be true of the negative picture.

    Args:
        weight: Factor in the sum of terms.
        negative_weight: Factor w of the second half (TripletCLIP: 1); 0 is NegCLIP.
    """

    needs = frozenset({"negative_text", "negative_image"})

    def __init__(self, weight: float = 1.0, negative_weight: float = 1.0) -> None:
        super().__init__(weight)
        if negative_weight < 0:
            raise ConfigError(f"negative_weight: {negative_weight} is negative; 0 turns the second half off")
        self.negative_weight = negative_weight

    def forward(self, features: Features) -> Term:
        """Computes the term; reports its halves ``positive`` and ``negative``, without w.

        Raises:
            ConfigError: There are no negative images, or not one to each slot of negative captions.
        """
        require_negative_image(features, "TripletContrastiveLoss")
        slots, pictures = features.negative_text.shape[1], features.negative_image.shape[1]
        if slots != pictures:
            raise ConfigError(
                "TripletContrastiveLoss pairs negative captions with negative images slot by slot, but there are"
                f" {slots} and {pictures}; use data with a picture to each, or model.image_negatives"
            )
        positive, negative = self._positive(features), self._negative(features)
        report = {"positive": positive.detach(), "negative": negative.detach()}
        return Term(positive + self.negative_weight * negative, report)

    def _positive(self, features: Features) -> Tensor:
        everyone, other = features.all, ~features.same_image
        image, text = features.logit_scale * features.image, features.logit_scale * features.text
        false = hide(image @ everyone.negative_text.flatten(0, 1).T, everyone.negative_text_mask.flatten())
        captions = torch.cat([hide(image @ everyone.text.T, other), false], dim=1)
        value = functional.cross_entropy(captions, features.targets)
        return (value + functional.cross_entropy(hide(text @ everyone.image.T, other), features.targets)) / 2

    def _negative(self, features: Features) -> Tensor:
        everyone, slots = features.all, features.negative_text.shape[1]
        whole = features.negative_text_mask & features.negative_image_mask
        whole_everywhere = (everyone.negative_text_mask & everyone.negative_image_mask).flatten()
        elsewhere = (~features.same_image).repeat_interleave(slots, 0)  # from a pair to a row, its own row included
        pairs = elsewhere.repeat_interleave(slots, 1) & whole_everywhere
        image = (features.logit_scale * features.negative_image).flatten(0, 1)
        text = (features.logit_scale * features.negative_text).flatten(0, 1)
        captions = [
            hide(image @ everyone.negative_text.flatten(0, 1).T, pairs),
            hide(image @ everyone.text.T, elsewhere),
        ]
        pictures = hide(text @ everyone.negative_image.flatten(0, 1).T, pairs)
        own = cosine(image, features.negative_text.flatten(0, 1).unsqueeze(1)).squeeze(1)
        value = (torch.cat(captions, dim=1).logsumexp(1) + pictures.logsumexp(1)) / 2 - own
        return masked_mean(value, whole.flatten())
