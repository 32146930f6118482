r"""CE-CLIP's and AHNPL's terms **as their public code has them**, mistakes and all: to reproduce, not to use.

Read from ``lezhang7/Enhance-FineGrained`` (``src/open_clip/loss.py``, HEAD ef87eb7 and its history) and
``nynu-BDAI/AHNPL`` (``open_clip/loss.py``, HEAD 6f35f47). Columns are numbered as there, sample after sample:
c = j K + k is the hard negative k of sample j.

One thing cannot be as there: where a caption has no negative of a kind, the public code encodes the text ``###`` and
leaves it in every sum, one and the same column for each empty slot, trained against like any other. Here an empty slot
is a zero vector: a column too, and in the same place, so that targets stay what they are, but with the logit 0 and no
gradient. In a sum it weighs :math:`e^0` beside :math:`e^{s \cos}`, that is nothing at s = 100, and as much as a text
orthogonal to the anchor at small s. Where a target falls on an empty slot, the public code pulls to ``###``; here
nothing is pulled and the other columns are still pushed away.

The public code keeps these terms on one process (AHNPL's fails on several) or sums the gradients of several wrongly
(without ``--gather-with-grad``); here W ranks are one process with the same global batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_cr import distributed
from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Loss, Term, cosine, one_of, require_negative_image
from lightning_cr.losses.threshold import RankLoss, rank_hinge

__all__ = ["ReleasedContrastiveLoss", "ReleasedIntraModalLoss", "ReleasedMultimodalLoss", "ReleasedRankLoss"]


class ReleasedContrastiveLoss(Loss):
    r"""The public ITC with hard negatives (``--hardnegative``), of both repositories: masks are not applied.

    .. math::
        L = \tfrac12 \operatorname{mean}_i \Big[
            \log \big( \sum_j e^{s I_i T_j} + \sum_{c} e^{s I_i N_c} \big)
            + \log \sum_j e^{s T_i I_j} - 2 s I_i T_i \Big]

    **Wrong:** empty slots are columns; another caption of the same image counts as negative, in both directions.
    :class:`lightning_cr.losses.contrastive.ContrastiveLoss` has neither. Before CE-CLIP's commit 47cef4e the flag was
    inverted on one GPU: hard negatives were used only where it was off.

    Args:
        weight: Factor in the sum of terms.
    """

    needs = frozenset({"negative_text"})

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)

    def forward(self, features: Features) -> Term:
        """Computes the term."""
        image, text = features.logit_scale * features.image, features.logit_scale * features.text
        columns = torch.cat([features.all.text, _columns(features)])
        value = cross_entropy(image @ columns.T, features.targets)
        return Term((value + cross_entropy(text @ features.all.image.T, features.targets)) / 2)


class ReleasedIntraModalLoss(Loss):
    r"""CE-CLIP's intra-modal contrastive term, by commit: cross-entropy of each caption over all hard negatives.

    In logits, with :math:`z_{ic} = s T_i N_c` and :math:`p_i = s I_i T_i`:

    .. math::
        \text{head: } \operatorname{mean}_i \big[ \log \sum_c e^{z_{ic}} - z_{i0} \big], \quad
        \text{7b58a00: } \operatorname{mean}_i \big[ \log ( e^{p_i} + \sum_c e^{z_{ic}} ) - z_{i0} \big], \quad
        \text{7f4433a: } \operatorname{mean}_i \big[ \log ( e^{p_i} + \sum_c e^{z_{ic}} ) - p_i \big]

    ``head`` is 47cef4e (March 2024) up to HEAD; ``7b58a00`` the release (June 2023), and b8a5244 (March 2024) once
    more; ``7f4433a`` (January 2024) was in between. **Wrong:** column 0, the target of every row in the first two, is
    the first negative (relation) of the batch's first sample, so every caption is pulled to one arbitrary text;
    ``7f4433a`` sets the cross-modal p (cosine about 0.3) against intra-modal z (about 0.95); masks are not applied. In
    our reading:
    :class:`lightning_cr.losses.intra_modal.IntraModalContrastiveLoss`.

    Args:
        weight: Factor in the sum of terms (0.2 in the script of 2023, 0.3 in that of 2024).
        version: ``head``, ``7b58a00`` or ``7f4433a``. Which one trained the released checkpoint is not stated.
    """

    needs = frozenset({"negative_text"})

    def __init__(self, weight: float = 0.3, version: Literal["head", "7b58a00", "7f4433a"] = "head") -> None:
        super().__init__(weight)
        one_of("version", version, ("head", "7b58a00", "7f4433a"))
        self.version = version

    def forward(self, features: Features) -> Term:
        """Computes the term; 0 where there is no slot at all."""
        text = features.logit_scale * features.text
        logits = text @ _columns(features).T
        if not logits.shape[1]:
            return Term(logits.sum() + 0.0 * text.sum())
        target = logits[:, 0]
        if self.version != "head":
            positive = (text * features.image).sum(1)
            logits = torch.cat([positive.unsqueeze(1), logits], dim=1)
            target = positive if self.version == "7f4433a" else target
        return Term((logits.logsumexp(1) - target).mean())


class ReleasedMultimodalLoss(Loss):
    r"""AHNPL's multimodal hard-negative term, with the targets of its public code.

    In logits, with :math:`J_c = I_j + N_c - T_j` not normalised (``VisualPerturbation`` with ``normalize: false``):

    .. math::
        L = \operatorname{mean}_i \big[ \log \sum_c e^{s T_i N_c} - s T_i N_{c=i} \big]
            + w \operatorname{mean}_i \big[ \log \sum_c e^{s I_i J_c} - s I_i J_{c=i} \big]

    **Wrong:** column c = i belongs to sample floor(i / K), so caption i is pulled to a hard negative of *another*
    sample (its own for i = 0 alone) and pushed from its own, and images likewise; there is no true pair in it. Masks
    are not applied: an empty slot's picture is :math:`I_j` plus the step from the caption to ``###``, here a zero
    vector. In our reading: :class:`lightning_cr.losses.multimodal_hard_negative.MultimodalHardNegativeLoss`.

    Args:
        weight: Factor in the sum of terms (AHNPL's script: 0.2).
        image_weight: Factor w: 1 in the published source, 0.001 in the published bytecode of the same file.

    Raises:
        ConfigError: A negative ``image_weight``.
    """

    needs = frozenset({"negative_text", "negative_image"})

    def __init__(self, weight: float = 0.2, image_weight: float = 1.0) -> None:
        super().__init__(weight)
        if image_weight < 0:
            raise ConfigError(f"image_weight: {image_weight} is negative; it is 1 in the source, 0.001 in the bytecode")
        self.image_weight = image_weight

    def forward(self, features: Features) -> Term:
        """Computes the term; reports its parts ``text`` and ``image``.

        Raises:
            ConfigError: There are no negative images.
        """
        require_negative_image(features, "ReleasedMultimodalLoss")
        everyone = features.all
        pictures = _rows(everyone.negative_image, everyone.negative_image_mask)
        text = _towards_own_number(features, features.text, _columns(features))
        image = _towards_own_number(features, features.image, pictures)
        return Term(text + self.image_weight * image, {"text": text.detach(), "image": image.detach()})


class ReleasedRankLoss(RankLoss):
    r"""The rank term of both repositories with the public thresholds; the hinge is ours, divided by B K.

    .. math:: \tau_k \leftarrow \operatorname{mean}_{\text{all } i} p_i - \operatorname{mean}_{i: m_{ik}} u_{ik}

    or, by ``max``, :math:`\max_i m_{ik} (p_i - u_{ik}) / 5`; then clamped. **Wrong:** the two means run over different
    samples, so the threshold also holds by how much all positives lie above those of the captions that have a negative
    of kind k; for a kind that a batch lacks the second mean counts as 0, which makes the threshold the upper bound at
    the next step (AHNPL; CE-CLIP's is NaN from there on, which no one can want back). The reset at each epoch's start
    is as there. Without the mistakes: :class:`lightning_cr.losses.cross_modal_rank.CrossModalRankLoss`.

    AHNPL's positive margin is not here: the public trainer never passes it on, so it is not part of what was trained.

    Args:
        weight: Factor in the sum of terms (both scripts: 0.2).
        threshold: ``mean``, ``max`` or ``fixed``.
        fixed: Threshold of ``fixed``, in logits.
        upper_bound: Clamp of the adaptive thresholds, in logits.
    """

    def __init__(
        self,
        weight: float = 0.2,
        threshold: Literal["fixed", "mean", "max"] = "mean",
        fixed: float = 2.0,
        upper_bound: float = 10.0,
    ) -> None:
        super().__init__(weight, threshold, fixed, upper_bound)

    def forward(self, features: Features) -> Term:
        """Computes the term; reports ``threshold/<kind>`` and ``margin/<kind>`` (over the valid), in logits."""
        positive = features.logit_scale * cosine(features.image, features.text.unsqueeze(1))
        gap = positive - features.logit_scale * cosine(features.image, features.negative_text)
        threshold = self.threshold(gap, features.negative_text_mask, features.kinds)
        value = rank_hinge(gap, features.negative_text_mask, threshold, "slots")
        if self.training and features.kinds and self.threshold.mode != "fixed":
            self._set(positive.detach(), gap.detach(), features.negative_text_mask)
        return Term(value, self.threshold.report(threshold))

    @torch.no_grad()
    def _set(self, positive: Tensor, gap: Tensor, mask: Tensor) -> None:
        """The public thresholds of the next step, in place of those that were just set."""
        if self.threshold.mode == "max":
            largest = gap.masked_fill(~mask, 0.0).amax(0, keepdim=True)  # an empty slot is 0 there, not absent
            proposed = distributed.gather(largest).amax(0) / self.threshold.max_divisor
        else:
            rows, p = distributed.all_reduce_sum(torch.stack([positive.new_tensor(len(positive)), positive.sum()]))
            negative = (positive - gap).masked_fill(~mask, 0.0).sum(0)
            count, u = distributed.all_reduce_sum(torch.stack([mask.to(gap.dtype).sum(0), negative]))
            proposed = p / rows - u / count.clamp(min=1.0)
        self.threshold.value.copy_(proposed.clamp(0.0, self.threshold.upper_bound))


def _rows(vectors: Tensor, mask: Tensor) -> Tensor:
    """``(B K, D)``, sample after sample; zeros in empty slots, whatever stands there."""
    return vectors.masked_fill(~mask.unsqueeze(-1), 0.0).flatten(0, 1)


def _columns(features: Features) -> Tensor:
    """The hard negatives of all ranks."""
    return _rows(features.all.negative_text, features.all.negative_text_mask)


def _towards_own_number(features: Features, anchor: Tensor, columns: Tensor) -> Tensor:
    """Cross-entropy with column i as target of row i: the mistake."""
    logits = features.logit_scale * anchor @ columns.T
    return cross_entropy(logits, features.targets) if logits.shape[1] else logits.sum()
