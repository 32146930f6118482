"""Distillation from the weights that a run began with, against forgetting."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Loss, Term, cosine, one_of

__all__ = ["DistillationLoss"]


class DistillationLoss(Loss):
    r"""Keeps the features, or what they say of each other, near those of the initial weights.

    With :math:`I^0, T^0` the unit vectors that the initial weights give the same pictures and captions:

    - ``mse``: :math:`L = \operatorname{mean}_i \, (|I_i - I^0_i|^2 + |T_i - T^0_i|^2)`, summed over dimensions;
    - ``cosine``: :math:`L = \operatorname{mean}_i \, (1 - I_i I^0_i + 1 - T_i T^0_i)`, for unit vectors half of it;
    - ``similarity``: :math:`L = \tfrac12 \operatorname{mean}_i [ KL(P^0_i \| P_i) + KL(Q^0_i \| Q_i) ]`, where
      :math:`P_i = \operatorname{softmax}_j (\sigma I_i T_j)` over the captions of all ranks and
      :math:`Q_i = \operatorname{softmax}_j (\sigma T_i I_j)` over their images. The towers may turn together.

    Plain forms that several papers share: DeGLA (arXiv 2504.16801, ``src/open_clip/loss.py``) takes the squared
    distance as a *sum* over the batch, weight 0.005, from a teacher that is a moving average, and its teacher sees the
    negatives too; CLIP-KD (arXiv 2307.12732) has features by their mean squared error, and relations by this
    divergence, from a larger teacher. A frozen copy of the start, true pairs alone, and the mean over samples are **our
    choice**.

    Args:
        weight: Factor in the sum of terms.
        of: ``mse``, ``cosine`` or ``similarity``.
        scale: Factor sigma from cosine to logit in ``similarity`` (100: CLIP's). A constant of its own, since with a
            learned scale the term would be least where all is alike.
    """

    needs = frozenset({"initial_image", "initial_text"})

    def __init__(
        self, weight: float = 1.0, of: Literal["mse", "cosine", "similarity"] = "mse", scale: float = 100.0
    ) -> None:
        super().__init__(weight)
        one_of("of", of, ("mse", "cosine", "similarity"))
        if not 0 < scale < math.inf:
            raise ConfigError(f"scale: {scale} must be greater than 0")
        self.of = of
        self.scale = scale

    def forward(self, features: Features) -> Term:
        """Computes the term; reports its parts ``image`` and ``text``, and ``drift``: 1 minus the cosine to the start.

        Raises:
            ConfigError: The features hold none of the initial weights.
        """
        image0, text0 = _initial(features)
        drift = [1 - cosine(now, then.unsqueeze(1)) for now, then in ((features.image, image0), (features.text, text0))]
        if self.of == "similarity":
            everyone = features.all
            images, texts = _initial(everyone)
            image = self._divergence(features.image @ everyone.text.T, image0 @ texts.T) / 2
            text = self._divergence(features.text @ everyone.image.T, text0 @ images.T) / 2
        elif self.of == "cosine":
            image, text = (part.mean() for part in drift)
        else:
            image = (features.image - image0).square().sum(1).mean()
            text = (features.text - text0).square().sum(1).mean()
        moved = (drift[0].detach().mean() + drift[1].detach().mean()) / 2
        return Term(image + text, {"image": image.detach(), "text": text.detach(), "drift": moved})

    def _divergence(self, now: Tensor, then: Tensor) -> Tensor:
        target = (self.scale * then).log_softmax(1)
        return (target.exp() * (target - (self.scale * now).log_softmax(1))).sum(1).mean()


def _initial(features: Features) -> tuple[Tensor, Tensor]:
    if features.initial_image is None or features.initial_text is None:
        raise ConfigError(
            "DistillationLoss compares with the features of the initial weights, but the features hold none; the task"
            " gives them where a loss's needs name initial_image and initial_text"
        )
    return features.initial_image, features.initial_text
