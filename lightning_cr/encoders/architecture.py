"""Which encoders there are, and from a name to a model without weights."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import nn

from lightning_cr.errors import ConfigError, suggest

__all__ = ["HERE", "construct", "encoder_names", "is_own", "read_architecture"]

HERE = Path(__file__).parent
CONFIGS = HERE / "configs"


def is_own(name: str) -> bool:
    """Whether the name is one of this package's own configurations."""
    return (CONFIGS / f"{name}.json").is_file()


def encoder_names() -> list[str]:
    """The names that ``build_encoder`` knows: this package's first, then open_clip's."""
    import open_clip

    return [*sorted(path.stem for path in CONFIGS.glob("*.json")), *open_clip.list_models()]


def read_architecture(name: str) -> dict[str, Any]:
    """The configuration in open_clip's format; our own files add ``tokenizer``, ``words`` and ``preprocess``.

    Raises:
        ConfigError: There is no such name, or the model is no plain dual encoder.
    """
    if is_own(name):
        own: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
        return own
    import open_clip

    known: dict[str, Any] | None = open_clip.get_model_config(name.replace("/", "-"))
    if known is None:
        raise ConfigError(
            f"there is no encoder '{name}'.{suggest(name, encoder_names())} List them: python -c "
            '"from lightning_cr.encoders import encoder_names; print(*encoder_names())"'
        )
    if "multimodal_cfg" in known:
        raise ConfigError(
            f"'{name}' also writes captions, and those weights would never train; use a dual encoder such as ViT-B-32"
        )
    return known


def construct(architecture: dict[str, Any], name: str) -> nn.Module:
    """An open_clip model with random weights from torch's global generator.

    Args:
        architecture: In open_clip's format, without keys of our own.
        name: For messages.

    Raises:
        ConfigError: The definition of a Hugging Face tower is neither cached nor to be fetched, or ``scenes_vit`` is
            asked for what it has not.
    """
    from open_clip.model import CLIP, CustomTextCLIP

    cfg = deepcopy(architecture)
    if cfg["vision_cfg"].get("timm_model_name") == "scenes_vit":
        from lightning_cr.encoders.scenes_tower import SIDE  # the import tells timm of the tower

        if (side := cfg["vision_cfg"].get("image_size")) != SIDE:  # open_clip does not hand it to the tower
            raise ConfigError(f"image_size of '{name}' is {side}; its tower scenes_vit takes {SIDE} only; write that")
    if "timm_model_name" in cfg["vision_cfg"]:
        cfg["vision_cfg"]["timm_model_pretrained"] = False  # the file or the tag brings weights, or nothing does
    if "hf_model_name" in cfg["text_cfg"]:
        cfg["text_cfg"]["hf_model_pretrained"] = False
    custom = cfg.pop("custom_text", False) or "hf_model_name" in cfg["text_cfg"]
    try:
        model: nn.Module = (CustomTextCLIP if custom else CLIP)(**cfg)
    except OSError as error:
        first = str(error).splitlines()[0]
        raise ConfigError(
            f"the text tower of '{name}' cannot be had ({first}); go online once, or choose another"
        ) from error
    return model
