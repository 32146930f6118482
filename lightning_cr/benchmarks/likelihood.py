"""How likely a language model finds each caption: what it prefers without the picture, a benchmark gives away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_cr import distributed
from lightning_cr.benchmarks.base import Scoring
from lightning_cr.errors import ConfigError
from lightning_cr.language_models import open_language_model

__all__ = ["likelihoods"]

_TOKENS_AT_ONCE = 2048
"""Of a batch; their logits over GPT-2's vocabulary are 0.4 GB."""


def likelihoods(captions: Sequence[str], scoring: Scoring) -> Mapping[str, float] | None:
    """The logarithm of each caption's probability, by its text; None where no model was asked for.

    ``log p(w_1, ..., w_T | beginning)``, divided by T for ``likelihood_per: token``; NaN for a caption without tokens.
    The model sees each distinct caption once, in fp32, on the GPU where there is one. What does not fit its context is
    cut off.

    Args:
        captions: Distinct ones.
        scoring: Names the model.

    Raises:
        ConfigError: transformers is not installed, or the model does not read from left to right.
        DataError: The model is neither a folder nor in the cache.
    """
    if not scoring.likelihood:
        return None
    from rich.console import Console
    from rich.progress import track

    tokenizer, model = _opened(scoring.likelihood)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device)
    begin = next((i for i in (tokenizer.bos_token_id, tokenizer.eos_token_id) if i is not None), None)
    longest = getattr(model.config, "max_position_embeddings", None) or _TOKENS_AT_ONCE
    rows = [[*([] if begin is None else [begin]), *ids][:longest] for ids in _encoded(tokenizer, captions)]
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
    batches = _batches([len(rows[at]) for at in order])
    console = Console(stderr=True)
    hidden = distributed.rank() > 0 or not console.is_terminal
    found = torch.full((len(rows),), torch.nan)
    for batch in track(batches, "reading captions without pictures", console=console, transient=True, disable=hidden):
        numbers = order[batch]
        total, count = _log_probability(model, [rows[at] for at in numbers], device)
        mean = total / count if scoring.likelihood_per == "token" else total
        found[numbers] = torch.where(count > 0, mean, torch.nan)
    return dict(zip(captions, found.tolist(), strict=True))


def _opened(name: str) -> tuple[Any, Any]:
    told = {"option": "data.scoring.likelihood", "fault": "does not read from left to right", "instead": "gpt2"}
    tokenizer, model, lacks = open_language_model(name, "AutoModelForCausalLM", **told)
    if lacks:
        raise ConfigError(f"{told['option']} '{name}' lacks weights for that ({lacks[0]}, ...); use gpt2")
    model = model.float().eval().requires_grad_(False)
    # transformers opens BERT and its like here too, which see the word that they are asked for.
    with torch.inference_mode():
        size = len(model.get_input_embeddings().weight)
        first, other = (model(input_ids=torch.tensor([[0, last]])).logits[0, 0] for last in (1 % size, size - 1))
    if not torch.equal(first, other):
        raise ConfigError(f"{told['option']} '{name}' {told['fault']}; use {told['instead']}")
    return tokenizer, model


def _encoded(tokenizer: Any, captions: Sequence[str]) -> list[list[int]]:
    if not captions:
        return []
    encoded: list[list[int]] = tokenizer(list(captions), add_special_tokens=False)["input_ids"]
    return encoded


def _batches(lengths: Sequence[int]) -> list[slice]:
    """Parts of rows that are sorted by length, each of so many tokens once padded, or of one row."""
    found, start = [], 0
    for end, length in enumerate(lengths):
        if end > start and (end + 1 - start) * length > _TOKENS_AT_ONCE:
            found.append(slice(start, end))
            start = end
    return [*found, *([slice(start, len(lengths))] if len(lengths) > start else [])]


def _log_probability(model: Any, rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """``(N,)`` sums of log probabilities of the tokens behind the first, and ``(N,)`` how many these are."""
    longest = max(map(len, rows))
    if longest < 2:
        return torch.zeros(len(rows)), torch.zeros(len(rows))
    tokens = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
    there = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    with torch.inference_mode():
        logits = model(input_ids=tokens, attention_mask=there).logits[:, :-1].float()
        loss = cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none") * there[:, 1:]
    return -loss.sum(1).cpu(), there[:, 1:].sum(1).float().cpu()
