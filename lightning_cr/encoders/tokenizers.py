"""The tokenizers of open_clip's models behind the :class:`~lightning_cr.encoders.base.Tokenizer` contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["OpenClipTokenizer"]


class OpenClipTokenizer:
    """An open_clip tokenizer (byte pairs, or Hugging Face's) with its padding id.

    Args:
        tokenizer: open_clip's object; it has a ``context_length``.
        pad_id: Fills a row after its end.
        shortens: Whether columns that hold only padding may be cut.
    """

    def __init__(self, tokenizer: Any, pad_id: int, shortens: bool) -> None:
        self.tokenizer = tokenizer
        self.pad_id = pad_id
        self.shortens = shortens
        self.context_length = int(tokenizer.context_length)

    def __call__(self, texts: Sequence[str], context_length: int | None = None) -> Tensor:
        """``(N, context_length)`` int64, truncated and padded with ``pad_id``; N may be 0."""
        if not texts:  # Hugging Face's tokenizers refuse an empty list
            return torch.zeros(0, context_length or self.context_length, dtype=torch.long)
        tokens: Tensor = self.tokenizer(list(texts), context_length)
        return tokens

    @classmethod
    def around(cls, tokenizer: Any) -> OpenClipTokenizer:
        """Finds the padding id of what ``open_clip.get_tokenizer`` gives; open_clip's byte pairs pad with 0."""
        inner = getattr(tokenizer, "tokenizer", None)  # Hugging Face's object inside open_clip's
        pad_id = getattr(inner, "pad_token_id", None)
        # mode "clips" puts a token behind the padding, in the last column: there nothing can be cut
        return cls(tokenizer, pad_id=int(pad_id or 0), shortens=not getattr(tokenizer, "tokenizer_mode", ""))
