"""Own hard negatives of both modalities: captions against the image, images against the caption."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Loss, Term, cosine, hide, require_negative_image

__all__ = ["MultimodalHardNegativeLoss"]


class MultimodalHardNegativeLoss(Loss):
    r"""AHNPL's multimodal hard-negative loss, as we read it: **a reconstruction**.

    In logits, with :math:`p_i = s I_i T_i` and the negative image :math:`J_{ik}` of hard negative k:

    .. math::
        L_{text} = -\log \frac{e^{p_i}}{e^{p_i} + \sum_k m_{ik} e^{s I_i N_{ik}}}, \quad
        L_{image} = -\log \frac{e^{p_i}}{e^{p_i} + \sum_k m_{ik} e^{s T_i J_{ik}}}

    and :math:`L = \operatorname{mean}_i (v L_{text} + w L_{image})`. An anchor without negatives counts as -log 1 = 0.

    The abstract of AHNPL (arXiv 2505.15576) says that the term helps to tell hard negatives apart within each
    modality; the formula of the paper was not found. Its public code (``loss.py:256-264``) is not followed: all its
    targets point at negatives of *other* samples. Nor do we set the cross-modal p against intra-modal logits (cosine
    about 0.3 against 0.95).

    Args:
        weight: Factor in the sum of terms (AHNPL's script: 0.2).
        image_weight: Factor w of the image part (1 in AHNPL's source, 0.001 in its published bytecode); 0 turns it off.
        text_weight: Factor v of the text part (1 in the public code); 0 turns it off.

    Raises:
        ConfigError: A negative factor, or both 0.
    """

    def __init__(self, weight: float = 0.2, image_weight: float = 1.0, text_weight: float = 1.0) -> None:
        super().__init__(weight)
        for name, factor in (("image", image_weight), ("text", text_weight)):
            if factor < 0:
                raise ConfigError(f"{name}_weight: {factor} is negative; 0 turns the {name} part off")
        if not image_weight and not text_weight:
            raise ConfigError(
                "image_weight and text_weight are both 0, which leaves nothing; take the term out instead"
            )
        self.image_weight = image_weight
        self.text_weight = text_weight
        parts = {"negative_text": text_weight, "negative_image": image_weight}
        self.needs = frozenset(name for name, factor in parts.items() if factor)

    def forward(self, features: Features) -> Term:
        """Computes the term; reports its parts ``text`` and ``image``, without their factors, where they are on.

        Raises:
            ConfigError: The image part is on and there are no negative images.
        """
        scale = features.logit_scale
        positive = cosine(features.image, features.text.unsqueeze(1))
        value = features.text.new_zeros(())
        report: dict[str, Tensor] = {}
        if self.text_weight:
            captions = scale * (cosine(features.image, features.negative_text) - positive)
            text = _surprise(captions, features.negative_text_mask)
            report["text"] = text.detach()
            value = self.text_weight * text
        if self.image_weight:
            require_negative_image(features, "MultimodalHardNegativeLoss")
            pictures = scale * (cosine(features.text, features.negative_image) - positive)
            image = _surprise(pictures, features.negative_image_mask)
            report["image"] = image.detach()
            value = value + self.image_weight * image
        return Term(value, report)


def _surprise(lead: Tensor, mask: Tensor) -> Tensor:
    """Mean of log(1 + sum_k m_ik e^lead_ik), ``lead`` ``(B, K)`` the logit of a negative over that of the positive."""
    zero = lead.new_zeros((lead.shape[0], 1))
    return torch.cat([zero, hide(lead, mask)], dim=1).logsumexp(1).mean()
