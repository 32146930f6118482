"""A diffusers pipeline: opened, told what it takes, named by its content."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from lightning_cr.errors import ConfigError, DataError, require

__all__ = ["Dtype", "Mode", "digest", "left_over", "mode_of", "open_pipeline", "quiet", "too_long"]

Mode = Literal["auto", "text_to_image", "image_to_image", "instruct", "inpaint"]
Dtype = Literal["auto", "bf16", "fp16", "fp32"]
_TASKS = {"text_to_image": "Text2Image", "image_to_image": "Image2Image", "inpaint": "Inpainting"}
"""What diffusers calls the modes that one set of weights can be used in."""
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def mode_of(pipeline: Any) -> str:
    """What a pipeline does, by what it takes: ``inpaint`` a mask, ``image_to_image`` a strength, ``instruct`` an image.

    Args:
        pipeline: An object of diffusers, or its class.

    Returns:
        A mode other than ``auto``; empty where it takes no prompt.
    """
    takes = inspect.signature(pipeline.__call__).parameters
    if "prompt" not in takes:
        return ""
    if "image" not in takes:
        return "text_to_image"
    return "inpaint" if "mask_image" in takes else "image_to_image" if "strength" in takes else "instruct"


def open_pipeline(name: str, mode: Mode, dtype: Dtype, device: torch.device, variant: str | None = None) -> Any:
    """Opens a pipeline in evaluation mode on a device; nothing is downloaded unasked.

    Args:
        name: A folder that ``save_pretrained`` wrote, or a name on the hub that was fetched.
        mode: One other than that of its class is tried with the same weights, as diffusers' ``AutoPipeline`` does.
        dtype: ``auto`` is bf16 on a GPU of NVIDIA (fp16 on one without it) and fp32 elsewhere.
        device: Where to.
        variant: Which of several files of weights, such as ``fp16``.

    Raises:
        ConfigError: diffusers is not installed, the pipeline cannot be used in that mode, or the GPU is too small.
        DataError: It is neither there nor in the cache, or has no weights; the message has the line that fetches it.
    """
    require("transformers", extra="image")  # diffusers would only say so halfway
    diffusers = require("diffusers", extra="image")
    with quiet():
        pipeline = _in_mode(diffusers, _load(diffusers, name, _dtype(dtype, device), variant), name, mode)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        on_gpu = device.type == "cuda"
        dtype = ("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16") if on_gpu else "fp32"
    if dtype == "fp16" and device.type == "cpu":
        raise ConfigError("--model.dtype is fp16, which a CPU cannot paint in; use auto, bf16 or fp32")
    return _DTYPES[dtype]


def _load(diffusers: Any, name: str, dtype: torch.dtype, variant: str | None) -> Any:
    given = Path(name).expanduser()
    try:
        return diffusers.DiffusionPipeline.from_pretrained(
            given if given.is_dir() else name, dtype=dtype, variant=variant, local_files_only=True
        )
    except Exception as error:  # OSError, ValueError, and those of the readers of weights and tokenizers
        why = " ".join(str(error).split())[:160]
        if given.is_dir():
            if not (given / "model_index.json").is_file():
                why = "it has no model_index.json"
            raise DataError(
                f"--model.pipeline '{name}' is no pipeline that can be read ({why}); name a folder that diffusers'"
                " save_pretrained wrote, with its weights"
            ) from error
        if variant is not None:
            why += f"; --model.variant is {variant}"
        raise DataError(
            f"--model.pipeline '{name}' is no folder and cannot be read from the cache ({why}); with a network, run"
            f' once: python -c "from diffusers import DiffusionPipeline as P; P.download({name!r}'
            f'{f", variant={variant!r}" if variant else ""})"'
        ) from error


def _in_mode(diffusers: Any, pipeline: Any, name: str, mode: Mode) -> Any:
    found, kind = mode_of(pipeline), type(pipeline).__name__
    if found and mode in ("auto", found):
        return pipeline
    if found and mode == "text_to_image" and found == "instruct" and "height" in _parameters(pipeline):
        return pipeline  # the picture may be left out
    try:
        if mode == "auto":
            raise ValueError("it takes no prompt")
        return getattr(diffusers, f"AutoPipelineFor{_TASKS[mode]}").from_pipe(pipeline)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        does = f"does {found}" if found else "takes no prompt"
        raise ConfigError(
            f"--model.mode is {mode}, but '{name}' is a {kind}, which {does}; use auto or another pipeline"
        ) from error


def _parameters(pipeline: Any) -> list[str]:
    return list(inspect.signature(pipeline.__call__).parameters)


def left_over(pipeline: Any, options: dict[str, Any]) -> list[str]:
    """The options that this pipeline does not take."""
    takes = _parameters(pipeline)
    return [name for name in options if name not in takes]


def too_long(pipeline: Any, prompts: Sequence[str]) -> list[int]:
    """Which prompts are longer than every text tower of the pipeline takes, so that their end is not painted.

    Args:
        pipeline: An object of diffusers.
        prompts: Texts.

    Returns:
        Their places.
    """
    tokenizers = [part for name, part in pipeline.components.items() if name.startswith("tokenizer") and part]
    cut = list(range(len(prompts))) if tokenizers else []
    for tokenizer in tokenizers:
        # Of n bytes no tokenizer makes more than n tokens and the two ends; most captions are shorter than that.
        cut = [at for at in cut if len(prompts[at].encode()) + 2 > tokenizer.model_max_length]
        if cut:
            with quiet():
                ids = tokenizer([prompts[at] for at in cut])["input_ids"]
            cut = [at for at, row in zip(cut, ids, strict=True) if len(row) > tokenizer.model_max_length]
    return cut


def digest(pipeline: Any) -> str:
    """Of all that a pipeline paints by: its class, the settings of its parts, their weights and vocabularies."""
    made = hashlib.blake2b(type(pipeline).__name__.encode(), digest_size=16)
    for name, part in sorted(pipeline.components.items()):
        made.update(f"{name} {type(part).__name__}".encode())
        config = getattr(part, "config", None) or {}
        plain = config.to_dict() if hasattr(config, "to_dict") else dict(config)
        settings = {key: value for key, value in plain.items() if key[0] != "_" and key not in _OF_THE_FILE}
        made.update(json.dumps(settings, sort_keys=True, default=str).encode())
        if isinstance(part, torch.nn.Module):
            for key, tensor in sorted(part.state_dict().items()):
                made.update(key.encode())
                made.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        if hasattr(part, "get_vocab"):
            made.update(json.dumps(part.get_vocab(), sort_keys=True).encode())
    return made.hexdigest()


_OF_THE_FILE = ("dtype", "torch_dtype", "transformers_version", "name_or_path")
"""Settings that say how weights were saved; the same weights saved again paint the same."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the libraries' bars and advice; what is missing is refused, and what is cut off is told by us."""
    import diffusers
    import transformers

    loggers = [diffusers.utils.logging, transformers.utils.logging]
    before = [(one.get_verbosity(), one.is_progress_bar_enabled()) for one in loggers]
    for one in loggers:
        one.set_verbosity(logging.CRITICAL)
        one.disable_progress_bar()
    try:
        yield
    finally:
        for one, (level, bars) in zip(loggers, before, strict=True):
            one.set_verbosity(level)
            if bars:
                one.enable_progress_bar()
