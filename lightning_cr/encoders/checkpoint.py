"""Weights in files: what a file says about itself, whether it fits a model, and how this package writes one."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_cr.encoders.base import Encoder
from lightning_cr.errors import CheckpointError
from lightning_cr.files import whole_file

__all__ = ["FORMAT", "Weights", "describe", "load_into", "read_weights", "save_weights"]

FORMAT = "lightning_cr/1"
# constants that an archive keeps among its tensors: OpenAI's three numbers, and masks in archives made with open_clip
ARCHIVE_EXTRAS = ("input_resolution", "context_length", "vocab_size", "attn_mask", "text.attn_mask")
PREFIXES = ("module.", "_orig_mod.", "encoder.", "model.")


@dataclass
class Weights:
    """What a file holds.

    Attributes:
        state: Tensors under open_clip's names.
        source: The file, for messages.
        name: Architecture, empty where the file does not say it.
        activation: ``gelu``, ``quick_gelu`` or ``towers``, empty where the file does not say it.
        vocabulary: Digest of the word list, empty where there is none.
        preprocess: Fields of :class:`~lightning_cr.encoders.base.Preprocess`, empty where the file does not say them.
    """

    state: dict[str, Tensor]
    source: str
    name: str = ""
    activation: str = ""
    vocabulary: str = ""
    preprocess: dict[str, Any] = field(default_factory=dict)


def describe(encoder: Encoder) -> dict[str, Any]:
    """What a checkpoint must say beside its tensors; a training checkpoint keeps it under the key ``encoder``."""
    return {
        "format": FORMAT,
        "name": encoder.config.name,
        "activation": encoder.activation,
        "vocabulary": getattr(encoder.tokenizer, "digest", ""),
        "preprocess": asdict(encoder.preprocess),
    }


def save_weights(encoder: Encoder, path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Writes the model's weights in a file that :func:`read_weights` and ``open_clip.create_model`` both load.

    Args:
        encoder: Has its open_clip model in ``model``.
        path: Replaced as a whole: a reader never sees half a file.
        dtype: Floating-point type of the tensors in the file, the model's own where it is left out.
    """
    model = encoder.get_submodule("model")
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if dtype is not None:
        state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    with whole_file(Path(path)) as file:
        torch.save({**describe(encoder), "state_dict": state}, file)


def read_weights(path: str | Path) -> Weights:
    """Reads an open_clip state dict, a training checkpoint of open_clip or of this package, or OpenAI's archive.

    Raises:
        CheckpointError: There is no such file, or it is none of these.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"there is no weights file '{path}'; name an existing file, a tag of open_clip, or nothing"
        )
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        if _is_archive(path):
            return _read_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"'{path}' cannot be read as weights ({first[:160]}); allowed are state dicts and checkpoints of open_clip "
            "and of this package (.pt, .bin, .ckpt, .safetensors) that hold plain tensors"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"'{path}' holds a {type(content).__name__}; a state dict or a checkpoint is needed")
    state = content.get("state_dict", content)
    about = _about(content)
    return Weights(state=_plain_names(state, path), source=str(path), **about)


def load_into(model: nn.Module, weights: Weights, name: str) -> None:
    """Loads every tensor, or says what does not fit.

    Only the image tower's positions are resized, as open_clip does it, so that a model can run at another resolution.

    Raises:
        CheckpointError: Tensors are missing, left over, or of another shape.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed

    state: dict[str, Tensor] = dict(convert_state_dict(model, weights.state))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    own = model.state_dict()
    for scale in ("logit_scale", "logit_bias"):
        if scale in state and scale in own:
            state[scale] = state[scale].reshape(own[scale].shape)
    if "logit_bias" in own and "logit_bias" not in state:
        state["logit_bias"] = torch.zeros_like(own["logit_bias"])
    state.pop("text.transformer.embeddings.position_ids", None)  # transformers up to 4.30 saved this constant
    resize_pos_embed(state, model)
    missing, extra = own.keys() - state.keys(), state.keys() - own.keys()
    shapes = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    for what, keys in (("lacks", missing), ("has unknown", extra), ("has another shape for", shapes)):
        if keys:
            belongs = (
                f"it says that it belongs to '{weights.name}'" if weights.name else "choose the model it was made for"
            )
            raise CheckpointError(
                f"'{weights.source}' does not fit the model '{name}': it {what} {len(keys)} of {len(own)} tensors, "
                f"first '{min(keys)}'; {belongs}: --model.encoder.name"
            )
    model.load_state_dict(state)


def _read_safetensors(path: Path) -> Weights:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        about = file.metadata() or {}
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
    return Weights(state, str(path), name=about.get("name", ""), activation=about.get("activation", ""))


def _is_archive(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return any(name.endswith("constants.pkl") for name in file.namelist())


def _read_archive(path: Path) -> Weights:
    # OpenAI publishes TorchScript; its program shows the activation: QuickGELU is x * sigmoid(1.702 x)
    with zipfile.ZipFile(path) as file:
        program = b"".join(file.read(name) for name in file.namelist() if name.endswith(".py"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, the archives stay
        state = torch.jit.load(str(path), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    state = {key: tensor for key, tensor in state.items() if key not in ARCHIVE_EXTRAS}
    if b"torch.gelu(" in program:
        return Weights(state, str(path), activation="gelu")
    return Weights(state, str(path), activation="quick_gelu" if b"torch.sigmoid(" in program else "")


def _about(content: Mapping[str, Any]) -> dict[str, Any]:
    for candidate in (content, content.get("encoder")):
        if isinstance(candidate, Mapping) and candidate.get("format") == FORMAT:
            return {key: candidate[key] for key in ("name", "activation", "vocabulary", "preprocess")}
    # open_clip's training checkpoints carry the run's name, which holds the model's name unless the user chose another.
    # Only "quickgelu" in it says something: `ViT-B-32` with OpenAI's weights computed QuickGELU in older versions.
    run = content.get("name")
    return {"activation": "quick_gelu" if isinstance(run, str) and "quickgelu" in run.lower() else ""}


def _plain_names(state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if any(key.startswith("encoder.model.") for key in tensors):  # a task's checkpoint: losses and buffers stay behind
        tensors = {key.removeprefix("encoder."): v for key, v in tensors.items() if key.startswith("encoder.model.")}
    for prefix in PREFIXES:
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    if not tensors:
        raise CheckpointError(f"'{path}' holds no tensors; a state dict or a checkpoint is needed")
    return tensors
