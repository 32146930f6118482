"""What the loader hands to the generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lightning_cr.synthesize.boxes import Box

__all__ = ["Work"]


@dataclass
class Work:
    """The wrong captions of one shard.

    Attributes:
        unit: Name of the shard in the store.
        rows: N rows of :data:`lightning_cr.synthesize.plan.SCHEMA`.
        originals: ``(N, 3, S, S)`` uint8 for a pipeline that edits them; None for one that does not.
        judged: The same pictures as the encoder that judges takes them, ``(N, 3, E, E)`` uint8; None where none judges.
        boxes: Where to paint, for inpainting.
        unreadable: Ids of the originals that could not be read; black stands in their place.
        skipped: One line for each of these.
    """

    unit: str
    rows: list[dict[str, Any]]
    originals: Tensor | None = None
    judged: Tensor | None = None
    boxes: Sequence[Sequence[Box]] | None = None
    unreadable: frozenset[int] = frozenset()
    skipped: list[str] = field(default_factory=list)
