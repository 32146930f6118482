"""A masked language model that ranks whole words: any of transformers', from a folder or by its name on the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch

from lightning_cr.errors import ConfigError
from lightning_cr.language_models import open_language_model

__all__ = ["Device", "MaskedModel", "whole_words"]

Device = Literal["auto", "cpu", "cuda"]
_MOST_TOKENS = 512


class MaskedModel:
    """Ranks the words of its vocabulary at the mask of each text; on a GPU in bf16, where there is one.

    Args:
        name: A folder, or a name on the hub that is in the cache.
        device: ``auto`` is the GPU where there is one.

    Raises:
        ConfigError: transformers is not installed, the model fills no masks, or there is no such device.
        DataError: It is neither there nor in the cache; the message has the line that fetches it.
    """

    def __init__(self, name: str, device: Device = "auto") -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device is 'cuda' and there is no GPU; use auto or cpu")
        use_gpu = device != "cpu" and torch.cuda.is_available()
        self.device = torch.device("cuda" if use_gpu else "cpu")
        told = {"option": "--model", "fault": "fills no masks", "instead": "distilroberta-base"}
        self._tokenizer, model, lacks = open_language_model(name, "AutoModelForMaskedLM", **told)
        if self._tokenizer.mask_token is None or lacks:
            why = "its tokenizer has no mask" if self._tokenizer.mask_token is None else "it has no weights for that"
            raise ConfigError(f"--model '{name}' fills no masks ({why}); use a masked one such as distilroberta-base")
        self.mask: str = self._tokenizer.mask_token
        self.digest = _digest(model)
        dtype = torch.bfloat16 if use_gpu and torch.cuda.is_bf16_supported() else torch.float32
        self._model = model.eval().requires_grad_(False).to(self.device, dtype)
        self.words = list(whole_words(self._tokenizer, int(model.config.vocab_size)).items())
        self._ids = torch.tensor([index for _, index in self.words], device=self.device)
        positions = getattr(model.config, "max_position_embeddings", None) or _MOST_TOKENS
        self._longest = min(self._tokenizer.model_max_length, positions - 2, _MOST_TOKENS)  # RoBERTa's begin at 2

    def rank(self, texts: Sequence[str], depth: int) -> list[list[str]]:
        """The likeliest whole words at each mask, in order; none where the mask is not the only one, or cut off.

        Args:
            texts: Each with one :attr:`mask`.
            depth: How many words.
        """
        encoded = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        ).to(self.device)
        places = encoded["input_ids"] == self._tokenizer.mask_token_id
        usable = places.sum(1) == 1
        rows, columns = torch.arange(len(texts), device=self.device), places.int().argmax(1)
        with torch.inference_mode(), _only_at(self._model, rows, columns):
            logits = self._model(**encoded).logits
        if logits.dim() == 3:
            logits = logits[rows, columns]
        # In fp32, and by a stable sort, so that equal scores come in the order of the vocabulary.
        scores = logits[:, self._ids].float()
        best = scores.sort(dim=1, descending=True, stable=True).indices[:, :depth].tolist()
        return [
            [self.words[at][0] for at in found] if there else []
            for found, there in zip(best, usable.tolist(), strict=True)
        ]


def whole_words(tokenizer: Any, size: int) -> dict[str, int]:
    """The vocabulary's words of two letters or more, in lower case, that are tokens by themselves.

    Byte-level and sentence-piece vocabularies mark where a word begins, WordPiece marks where one goes on.

    Args:
        tokenizer: Of the model.
        size: How many tokens the model can put out.
    """
    tokens = tokenizer.convert_ids_to_tokens(range(min(len(tokenizer), size)))
    begins = next((mark for mark in ("\u0120", "\u2581") if any(token.startswith(mark) for token in tokens)), "")
    special = set(tokenizer.all_special_ids)
    words: dict[str, int] = {}
    for index, token in enumerate(tokens):
        word = token.removeprefix(begins)
        whole = index not in special and token.startswith(begins) and len(word) > 1
        if whole and word.isascii() and word.isalpha() and word.islower():
            words.setdefault(word, index)
    return words


def _digest(model: Any) -> str:
    """Of the weights: a folder may hold others tomorrow."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy() if tensor.dim() else str(tensor.item()).encode())
    return digest.hexdigest()


@contextmanager
def _only_at(model: Any, rows: torch.Tensor, columns: torch.Tensor) -> Iterator[None]:
    """Scores the masks alone: the vocabulary's layer is half of a small model's work, and most of its memory."""
    layer = model.get_output_embeddings()
    if layer is None:
        yield
        return
    handle = layer.register_forward_pre_hook(lambda _, given: (given[0][rows, columns],))
    try:
        yield
    finally:
        handle.remove()
