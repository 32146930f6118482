"""The two contracts: :class:`Batch`, what a loader gives, and :class:`Features`, what a loss sees.

Nothing is ever derived from values ("the text is ###", "the logit is not 0"): what exists is said by an index or a
mask. Slot k of the K text negatives is kind k, so a per-kind threshold is a ``(K,)`` tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from lightning_cr import distributed

__all__ = ["Batch", "Features", "unpack"]


def unpack(packed: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Spreads packed rows over their slots.

    Args:
        packed: ``(N, D)``, the rows that exist.
        index: ``(B, K)``, row of ``packed`` in each slot, -1 where there is none.

    Returns:
        ``(B, K, D)`` with exact zeros in empty slots (their gradient is exactly zero too), and the mask ``(B, K)``.
    """
    mask = index >= 0
    if packed.shape[0] == 0:
        return packed.new_zeros((*index.shape, packed.shape[-1])) + packed.sum(), mask
    rows = packed[index.clamp(min=0)]
    return torch.where(mask.unsqueeze(-1), rows, torch.zeros_like(rows)), mask


def _none_given() -> Tensor:
    return torch.zeros(0, 0)


@dataclass
class Batch:
    """What the loader gives: B images with their captions, and the negatives that exist.

    Attributes:
        images: ``(B, 3, H, W)`` uint8; the encoder normalises them on its own device.
        tokens: ``(B + M + Q, L)`` int64: the B captions, the M text negatives that exist, the Q positive texts that
            exist; L is the longest of them.
        negative_index: ``(B, K)`` int64, row of ``tokens`` that holds the negative of each slot, -1 where there is
            none.
        kinds: K names, one a slot.
        concreteness: ``(B, K)`` float in [0, 1], concreteness of the concept that was replaced; NaN where it has no
            rating, and in an empty slot. 0 is the most abstract of concepts, and stands for nothing else.
        negative_images: ``(N, 3, H, W)`` uint8: the negative images that exist.
        negative_image_index: ``(B, J)`` int64, row of ``negative_images`` in each slot, -1 where there is none.
        sample_ids: ``(B,)`` int64, identifies the pair of image and caption.
        image_ids: ``(B,)`` int64, equal for two captions of one image: those are never each other's negatives.
        texts: The B captions, M negatives and Q positive texts as text, in the order of ``tokens``.
        skipped: One line for each input that could not be read and was replaced by another.
        positive_index: ``(B, P)`` int64, row of ``tokens`` that holds another true caption of the image, -1 where there
            is none; P = 0 where the data draw none (``data.positives``).
    """

    images: Tensor
    tokens: Tensor
    negative_index: Tensor
    kinds: tuple[str, ...]
    concreteness: Tensor
    negative_images: Tensor
    negative_image_index: Tensor
    sample_ids: Tensor
    image_ids: Tensor
    texts: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    positive_index: Tensor = field(default_factory=_none_given)

    def __post_init__(self) -> None:
        if not self.positive_index.numel():
            self.positive_index = self.image_ids.new_zeros((len(self), self.positive_index.shape[-1]))

    def __len__(self) -> int:
        return self.images.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device (Lightning calls this)."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (the DataLoader calls this)."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Any) -> Batch:
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: function(v) for name, v in tensors.items() if isinstance(v, Tensor)})


@dataclass
class Features:
    """What a loss sees: unit vectors in fp32, masks, ids, and the rows of the other ranks.

    Attributes:
        image: ``(B, D)`` unit norm.
        text: ``(B, D)`` unit norm.
        negative_text: ``(B, K, D)`` unit norm, exact zeros where ``negative_text_mask`` is false.
        negative_text_mask: ``(B, K)`` bool.
        negative_image: ``(B, J, D)`` unit norm, exact zeros where ``negative_image_mask`` is false.
        negative_image_mask: ``(B, J)`` bool.
        concreteness: ``(B, K)`` in [0, 1], of the concept that was replaced; NaN where it has no rating, and in an
            empty slot. A loss that reads it replaces NaN before it calculates (a NaN that is hidden afterwards is
            still in the gradient), says by what, and states ``concreteness`` in its ``needs``.
        kinds: K names, one a slot of ``negative_text``.
        sample_ids: ``(B,)``.
        image_ids: ``(B,)``.
        logit_scale: Scalar; logit = logit_scale * cosine.
        gathered: The rows of all ranks, rank-major, with gradient; None on one process: use :attr:`all`.
        offset: Row of ``all`` at which this rank's rows begin.
        positive_text: ``(B, P, D)`` unit norm, other true captions of the image; exact zeros where
            ``positive_text_mask`` is false; P = 0 where the data draw none.
        positive_text_mask: ``(B, P)`` bool.
        initial_image: ``(B, D)`` unit norm, what the initial weights give the same pictures, without gradient; None
            where no loss needs it.
        initial_text: ``(B, D)`` unit norm, likewise for the captions.
    """

    image: Tensor
    text: Tensor
    negative_text: Tensor
    negative_text_mask: Tensor
    negative_image: Tensor
    negative_image_mask: Tensor
    concreteness: Tensor
    kinds: tuple[str, ...]
    sample_ids: Tensor
    image_ids: Tensor
    logit_scale: Tensor
    gathered: Features | None = None
    offset: int = 0
    positive_text: Tensor = field(default_factory=_none_given)
    positive_text_mask: Tensor = field(default_factory=_none_given)

    initial_image: Tensor | None = None
    initial_text: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.positive_text.numel():  # no slot: of this number of rows, on this device
            self.positive_text = self.text.new_zeros((len(self), 0, self.text.shape[-1]))
            self.positive_text_mask = torch.zeros(len(self), 0, dtype=torch.bool, device=self.text.device)

    def __len__(self) -> int:
        return self.image.shape[0]

    @property
    def all(self) -> Features:
        """The rows of all ranks; this object itself on one process."""
        return self if self.gathered is None else self.gathered

    @property
    def targets(self) -> Tensor:
        """``(B,)``: the row of :attr:`all` that holds each local row's own counterpart."""
        return torch.arange(len(self), device=self.image.device) + self.offset

    @property
    def same_image(self) -> Tensor:
        """``(B, W * B)`` bool: another row shows the same image, so it is no negative; own column is false."""
        same = self.image_ids[:, None] == self.all.image_ids[None, :]
        same[torch.arange(len(self), device=same.device), self.targets] = False
        return same

    def gather(self) -> Features:
        """The same features with :attr:`gathered` filled from all ranks, with gradient.

        Every rank must hold the same number of rows. On one process it is the object itself.
        """
        if distributed.world_size() == 1:
            return self
        with_gradient = ["image", "text", "negative_text", "negative_image"]
        without = ["negative_text_mask", "negative_image_mask", "concreteness", "sample_ids", "image_ids"]
        if self.positive_text.shape[1]:  # P is the configuration's, so all ranks agree
            with_gradient.append("positive_text")
            without.append("positive_text_mask")
        rows: dict[str, Any] = {name: distributed.gather_with_gradient(getattr(self, name)) for name in with_gradient}
        optional = (name for name in ("initial_image", "initial_text") if getattr(self, name) is not None)
        rows |= {name: distributed.gather(getattr(self, name)) for name in (*without, *optional)}
        return replace(self, gathered=replace(self, **rows), offset=distributed.rank() * len(self))
