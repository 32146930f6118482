"""Which sample comes when: the order depends on (seed, epoch) alone, and a loader can go on in mid-epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from lightning_cr import distributed
from lightning_cr.data.collate import Prepared

__all__ = ["EpochSampler", "ResumableLoader"]


class EpochSampler(DistributedSampler[tuple[int, int]]):
    """Keys ``(epoch, index)`` in an order drawn from (seed, epoch).

    The global batch of W ranks with B samples each is the batch of one process with W * B samples: rank r takes the
    r-th part of it. What does not fill a global batch is left for other epochs. It is a ``DistributedSampler`` so that
    Lightning tells it the epoch and puts no other in its place.

    Args:
        length: Samples in an epoch.
        batch_size: Of one rank.
        seed: Of the run.
    """

    def __init__(self, length: int, batch_size: int, seed: int) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.done: tuple[int, int] = (0, 0)
        """An epoch and how many of its batches are already done; used up by the next ``iter``."""

    @property
    def batches(self) -> int:
        """Batches of one rank in an epoch."""
        return self.length // (self.batch_size * distributed.world_size())

    def __len__(self) -> int:
        return self.batches * self.batch_size

    def done_of_next(self) -> int:
        """Batches that the next ``iter`` leaves out."""
        epoch, batches = self.done
        return batches if epoch == self.epoch else 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        start = self.done_of_next()
        self.done = (0, 0)
        epoch, rank, world = self.epoch, distributed.rank(), distributed.world_size()
        order = torch.randperm(self.length, generator=torch.Generator().manual_seed(self.seed * 1_000_003 + epoch))
        keys = order[: len(self) * world].view(self.batches, world, self.batch_size)[start:, rank]
        return iter([(epoch, index) for index in keys.flatten().tolist()])


class ResumableLoader(DataLoader[Prepared]):
    """A DataLoader that Lightning saves and restores, so that a run goes on in mid-epoch with the next batch."""

    sampler: EpochSampler

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._given = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._given = self.sampler.done_of_next()
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch and how many of its batches were handed out."""
        return {"epoch": self.sampler.epoch, "batches": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Lets the next iteration begin behind the batches that were handed out."""
        finished = state["batches"] >= self.sampler.batches
        self.sampler.epoch = state["epoch"] + finished
        self.sampler.done = (self.sampler.epoch, 0 if finished else state["batches"])
