"""Tokenizer over a closed vocabulary of words: the embedded world's captions need no more."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lightning_cr.errors import ConfigError

__all__ = ["WordTokenizer"]

PAD, UNKNOWN, START, FIRST_WORD = 0, 1, 2, 3
WORD = re.compile(r"[^\W_]+")


class WordTokenizer:
    """One id a word of a list; punctuation is dropped, case is ignored.

    Ids: 0 pad, 1 unknown, 2 start, then the words in the order of the file, and last the end, the largest id, because
    open_clip pools the text at the largest id of a row.

    Args:
        path: Text file in UTF-8, one word a line.
        context_length: Columns of a row, start and end included.

    Attributes:
        pad_id: 0.
        shortens: Whether padding columns may be cut.
        vocab_size: Number of ids.
        digest: Hash of the word list in its order; weights fit no other list.

    Raises:
        ConfigError: A line is not one word, or a word comes twice.
    """

    def __init__(self, path: Path, context_length: int = 24) -> None:
        words = path.read_text(encoding="utf-8").split("\n")
        words = [word for word in words if word]
        for word in words:
            if WORD.fullmatch(word) is None or word != word.lower():
                raise ConfigError(
                    f"{path} holds the line '{word}'; allowed is one lower-case word a line, letters and digits"
                )
        if len(set(words)) < len(words):
            twice = next(word for index, word in enumerate(words) if word in words[:index])
            raise ConfigError(f"{path} holds the word '{twice}' twice; delete one of the lines")
        if context_length < 3:
            raise ConfigError(f"context_length is {context_length}; it must be 3 or more: start, a word, end")
        self.pad_id = PAD
        self.shortens = True
        self.context_length = context_length
        self.end_id = FIRST_WORD + len(words)
        self.vocab_size = self.end_id + 1
        self.digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
        self._ids = {word: FIRST_WORD + index for index, word in enumerate(words)}

    def __call__(self, texts: Sequence[str], context_length: int | None = None) -> Tensor:
        """``(N, context_length)`` int64; a long caption loses its last words, never its end token."""
        columns = context_length or self.context_length
        return torch.tensor([self._row(text, columns) for text in texts], dtype=torch.long).reshape(-1, columns)

    def unknown(self, text: str) -> list[str]:
        """The words of a caption that the vocabulary lacks."""
        return [word for word in WORD.findall(text.lower()) if word not in self._ids]

    def _row(self, text: str, columns: int) -> list[int]:
        ids = [self._ids.get(word, UNKNOWN) for word in WORD.findall(text.lower())[: columns - 2]]
        return [START, *ids, self.end_id] + [PAD] * (columns - 2 - len(ids))
