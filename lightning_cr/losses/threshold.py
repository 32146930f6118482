"""Thresholds that follow the batch, and the hinge they are for; part of the base that cross-modal rank terms share."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_cr import distributed
from lightning_cr.batch import Features
from lightning_cr.errors import ConfigError
from lightning_cr.losses.base import Loss, Term, cosine, masked_mean, one_of

__all__ = ["AdaptiveThreshold", "RankLoss", "Reduction", "ThresholdMode", "rank_hinge"]

ThresholdMode = Literal["fixed", "mean", "max"]
Reduction = Literal["slots", "valid"]


class AdaptiveThreshold(nn.Module):
    r"""One threshold a kind of hard negative, set by one batch and used at the next step.

    With the gap :math:`g_{ik} = p_i - u_{ik}` (logits) of the true caption over its hard negative k, i over the valid
    entries of all ranks:

    - ``mean``: :math:`\tau_k = \operatorname{mean}_i g_{ik}`, clamped to [0, ``upper_bound``];
    - ``max``: :math:`\tau_k = \max_i g_{ik} / 5`, clamped likewise;
    - ``fixed``: a constant, never clamped.

    A kind with no valid entry in a batch keeps its threshold.

    CE-CLIP (arXiv 2306.08832), ``src/open_clip/loss.py:334-351`` and ``train.py:103-138``. Where we differ: the
    public mean takes p over *all* samples and u over the valid ones, and finds these by ``u != 0``; here both run
    over the mask. For a kind without a valid entry the public code gives NaN (AHNPL's: the upper bound).

    Args:
        mode: ``fixed``, ``mean`` or ``max``.
        fixed: The constant of ``fixed``, in logits (AHNPL's default: 2).
        upper_bound: Clamp of ``mean`` and ``max``, in logits (the paper: 10, that is 0.1 cosine at scale 100).
        max_divisor: Of ``max``, without unit (5 in the public code).
        reset_each_epoch: Start each epoch from 0, as the public trainer does.

    Attributes:
        value: ``(K,)`` logits, the thresholds in force; in the checkpoint.
        margin: ``(K,)`` logits, mean gap of each kind in the last batch that held it; only reported.
    """

    value: Tensor
    margin: Tensor

    def __init__(
        self,
        mode: ThresholdMode = "mean",
        fixed: float = 2.0,
        upper_bound: float = 10.0,
        max_divisor: float = 5.0,
        reset_each_epoch: bool = True,
    ) -> None:
        super().__init__()
        one_of("threshold", mode, ("fixed", "mean", "max"))
        if upper_bound < 0:
            raise ConfigError(f"upper_bound: {upper_bound} is negative; it is a clamp in logits, 0 or more")
        if max_divisor <= 0:
            raise ConfigError(f"max_divisor: {max_divisor} must be greater than 0")
        self.mode = mode
        self.fixed = fixed
        self.upper_bound = upper_bound
        self.max_divisor = max_divisor
        self.reset_each_epoch = reset_each_epoch
        self.kinds: tuple[str, ...] = ()
        self.register_buffer("value", torch.zeros(0))
        self.register_buffer("margin", torch.zeros(0), persistent=False)

    def bind(self, kinds: tuple[str, ...]) -> None:
        """Makes the buffers; once made, the same kinds change nothing.

        Raises:
            ConfigError: It already holds thresholds of other kinds.
        """
        if self.kinds:
            self._expect(kinds, "this run has")
            return
        self.kinds = tuple(kinds)
        self.value = self.value.new_full((len(kinds),), self.fixed if self.mode == "fixed" else 0.0)
        self.margin = self.margin.new_zeros(len(kinds))

    def reset(self) -> None:
        """Back to 0, where the epoch's start asks for it."""
        if self.reset_each_epoch and self.mode != "fixed":
            self.value.zero_()

    def forward(self, gap: Tensor, mask: Tensor, kinds: tuple[str, ...]) -> Tensor:
        """Gives the thresholds in force, and in training mode sets those of the next step.

        Args:
            gap: ``(B, K)`` logits, p_i - u_ik of the local rows.
            mask: ``(B, K)`` bool, the entries that exist.
            kinds: K names, which must be those it was bound to.

        Returns:
            ``(K,)`` logits, without gradient.

        Raises:
            ConfigError: It was bound to other kinds.
        """
        self._expect(kinds, "the batch has")
        in_force = self.value.to(gap.dtype, copy=True)
        if kinds:
            self._observe(gap.detach(), mask)
        return in_force

    def report(self, in_force: Tensor) -> dict[str, Tensor]:
        """``threshold/<kind>`` in force and ``margin/<kind>``; an absent kind repeats its last value.

        Args:
            in_force: ``(K,)`` logits, what :meth:`forward` gave.

        Returns:
            Logits, equal on all ranks, with the same keys at every step.
        """
        margin = self.margin.clone()
        thresholds = {f"threshold/{kind}": in_force[k] for k, kind in enumerate(self.kinds)}
        return thresholds | {f"margin/{kind}": margin[k] for k, kind in enumerate(self.kinds)}

    @torch.no_grad()
    def _observe(self, gap: Tensor, mask: Tensor) -> None:
        local = torch.stack([mask.to(gap.dtype).sum(0), gap.masked_fill(~mask, 0.0).sum(0)])
        count, total = distributed.all_reduce_sum(local)
        present = count > 0
        mean = total / count.clamp(min=1.0)
        self.margin.copy_(torch.where(present, mean, self.margin))
        if not self.training or self.mode == "fixed":
            return
        if self.mode == "max":
            largest = gap.masked_fill(~mask, torch.finfo(gap.dtype).min).amax(0, keepdim=True)
            proposed = distributed.gather(largest).amax(0) / self.max_divisor
        else:
            proposed = mean
        self.value.copy_(torch.where(present, proposed.clamp(0.0, self.upper_bound), self.value))

    def get_extra_state(self) -> dict[str, list[str]]:
        """The kinds, so that a checkpoint's thresholds never land on other kinds."""
        return {"kinds": list(self.kinds)}

    def set_extra_state(self, state: Any) -> None:
        """Checks a checkpoint's kinds against those it was bound to.

        Raises:
            ConfigError: They differ.
        """
        self._expect(tuple(state["kinds"]), "the checkpoint has")
        if self.mode == "fixed":  # the configuration says it, not the checkpoint
            self.value.fill_(self.fixed)

    def _expect(self, kinds: tuple[str, ...], who: str) -> None:
        if tuple(kinds) != self.kinds:
            held = ", ".join(self.kinds) or "none (bind was not called)"
            raise ConfigError(
                f"thresholds: {who} the kinds {', '.join(kinds) or 'none'}, but these thresholds are for {held}; "
                "use the same negatives in the same order, or start without this checkpoint"
            )


def rank_hinge(gap: Tensor, mask: Tensor, threshold: Tensor, reduction: Reduction) -> Tensor:
    r"""Hinge on how far the true caption leads its own hard negatives.

    .. math:: \tfrac1n \sum_{ik} m_{ik} [\tau_k - g_{ik}]_+

    Args:
        gap: ``(B, K)`` logits, :math:`g_{ik} = p_i - u_{ik}`.
        mask: ``(B, K)`` bool, :math:`m_{ik}`.
        threshold: ``(K,)`` logits, :math:`\tau_k`.
        reduction: ``slots``: n = B K, as the paper's code has it; ``valid``: n = number of valid entries of all ranks.

    Returns:
        Scalar; exactly 0 and attached to the graph where nothing is valid, also for K = 0.
    """
    hinge = torch.relu(threshold - gap)
    if reduction == "valid":
        return masked_mean(hinge, mask)
    return hinge.masked_fill(~mask, 0.0).sum() / max(hinge.numel(), 1)


class RankLoss(Loss):
    """What the terms with adaptive thresholds share: options, life cycle, and the rank part itself.

    Args:
        weight: Factor in the sum of terms (CE-CLIP's and AHNPL's scripts: 0.2).
        threshold: ``mean``, ``max`` or ``fixed``; see :class:`AdaptiveThreshold`.
        fixed: Threshold of ``fixed``, in logits.
        upper_bound: Clamp of the adaptive thresholds, in logits (the paper: 10).
        reset_each_epoch: Thresholds start each epoch at 0, as in the public trainer.
        reduction: ``slots`` divides by B K as the public code does, so that a missing negative lowers the term;
            ``valid`` divides by the number of negatives that exist, over all ranks (ours).
        max_divisor: What ``max`` divides by, without unit (5 in the public code).
    """

    needs = frozenset({"negative_text"})

    def __init__(
        self,
        weight: float = 0.2,
        threshold: ThresholdMode = "mean",
        fixed: float = 2.0,
        upper_bound: float = 10.0,
        reset_each_epoch: bool = True,
        reduction: Reduction = "slots",
        max_divisor: float = 5.0,
    ) -> None:
        super().__init__(weight)
        one_of("reduction", reduction, ("slots", "valid"))
        self.reduction = reduction
        self.threshold = AdaptiveThreshold(threshold, fixed, upper_bound, max_divisor, reset_each_epoch)

    def bind(self, kinds: tuple[str, ...]) -> None:
        """Makes the thresholds, one a kind."""
        self.threshold.bind(kinds)
        super().bind(kinds)

    def on_epoch_start(self) -> None:
        """Resets the thresholds, where configured."""
        self.threshold.reset()

    def rank(self, features: Features) -> Term:
        """The hinge on each hard negative; reports ``threshold/<kind>`` and ``margin/<kind>``, in logits.

        Raises:
            ConfigError: The batch's kinds are not those the thresholds are for.
        """
        positive = cosine(features.image, features.text.unsqueeze(1))
        gap = features.logit_scale * (positive - cosine(features.image, features.negative_text))
        threshold = self.threshold(gap, features.negative_text_mask, features.kinds)
        value = rank_hinge(gap, features.negative_text_mask, threshold, self.reduction)
        return Term(value, self.threshold.report(threshold))
