"""Language models of transformers, from a folder or the cache: nothing is downloaded unasked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_cr.errors import ConfigError, DataError, require

__all__ = ["open_language_model"]


def open_language_model(name: str, kind: str, option: str, fault: str, instead: str) -> tuple[Any, Any, list[str]]:
    """Reads a tokenizer and a model, on the CPU.

    Args:
        name: A folder, or a name on the hub that is in the cache.
        kind: Class of transformers that reads it, such as ``AutoModelForMaskedLM``.
        option: That named it, for the error.
        fault: What a model of another kind is told, such as "fills no masks".
        instead: A model that would do.

    Returns:
        The tokenizer, the model, and which of its weights are not in the folder.

    Raises:
        ConfigError: transformers is not installed, or the model is of another kind.
        DataError: It is neither there nor in the cache; the message has the line that fetches it.
    """
    transformers = require("transformers", extra="mlm")
    with _quiet(transformers):
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, local_files_only=True)
            model, info = getattr(transformers, kind).from_pretrained(
                name, local_files_only=True, output_loading_info=True
            )
        except ValueError as error:
            raise ConfigError(f"{option} '{name}' {fault} ({_brief(error)}); use {instead}") from error
        except Exception as error:  # OSError, and those of the readers of tokenizers and weights
            if Path(name).is_dir():
                raise DataError(f"{option} '{name}' cannot be read ({_brief(error)}); save it there again") from error
            get = "; ".join(f"{part}.from_pretrained('{name}')" for part in ("AutoTokenizer", kind))
            raise DataError(
                f"{option} '{name}' is no folder and not in the cache; with a network, run once:"
                f' python -c "from transformers import {kind}, AutoTokenizer; {get}"'
            ) from error
    return tokenizer, model, list(info["missing_keys"])


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:100]


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Silences what transformers says of weights that it does not use; what is missing is refused."""
    before = transformers.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
        if bars:
            transformers.utils.logging.enable_progress_bar()
