"""Where weights come from: the package's base, a tag of open_clip, or a local file."""

from __future__ import annotations

import os
from pathlib import Path

from lightning_cr.encoders.activation import check_activation, sibling
from lightning_cr.encoders.architecture import HERE, is_own
from lightning_cr.encoders.base import EncoderConfig
from lightning_cr.encoders.checkpoint import Weights, read_weights
from lightning_cr.errors import CheckpointError, ConfigError, suggest

__all__ = ["MAKE_BASE", "find_weights", "is_file"]

MAKE_BASE = "python scripts/make_base.py"
LIST_TAGS = """python -c "import open_clip; print(*open_clip.list_pretrained(as_str=True))\""""


def find_weights(config: EncoderConfig, computes: str) -> Weights:
    """Reads the weights that a configuration names, and refuses those of another activation.

    Args:
        config: Its ``pretrained`` is not empty.
        computes: The model's activation; a tag is checked against it before anything is downloaded.

    Raises:
        ConfigError: ``pretrained`` is neither a file nor a tag of this model.
        CheckpointError: The file cannot be read or was trained with another activation.
    """
    if config.pretrained == "base":
        return read_weights(_base(config.name))
    if is_file(config.pretrained):
        weights = read_weights(config.pretrained)
        check_activation(config.name, computes, weights.source, weights.activation, config.activation, weights.name)
        return weights
    return _tagged(config.name.replace("/", "-"), config.pretrained, computes, config.activation)


def _base(name: str) -> Path:
    file = HERE / "weights" / f"{name}.pt"
    if name != "scenes-tiny":
        raise ConfigError(
            "pretrained is 'base', which only scenes-tiny and lite0-minilm have (photos-tiny begins at random); for"
            f" '{name}' set it to '' (random weights), a local file or a tag: it has {_tags(name)}"
        )
    if not file.is_file():
        raise CheckpointError(f"the base of '{name}' is not there ({file}); make it: {MAKE_BASE}, or say pretrained ''")
    return file


def is_file(source: str) -> bool:
    """Whether ``pretrained`` means a file, there or not, and no tag."""
    return (
        os.sep in source
        or Path(source).is_file()
        or Path(source).suffix in (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
    )


def _tagged(name: str, tag: str, computes: str, stated: str) -> Weights:
    import open_clip
    from open_clip.pretrained import download_pretrained

    known = open_clip.get_pretrained_cfg(name, tag)
    if not known:
        for other in (sibling(name, "gelu"), sibling(name, "quick_gelu")):
            if other and open_clip.get_pretrained_cfg(other, tag):
                raise CheckpointError(f"'{tag}' fits not '{name}' but its sibling; use --model.encoder.name {other}")
        near = suggest(tag, open_clip.list_pretrained_tags_by_model(name))
        raise ConfigError(
            f"pretrained is '{tag}', which is neither a file nor a tag of '{name}'.{near} It has {_tags(name)}; "
            f"all tags: {LIST_TAGS}"
        )
    # open_clip marks QuickGELU only; a model that has no GELU sibling was trained as it is (roberta-ViT-B-32)
    unmarked = "gelu" if computes == "gelu" or sibling(name, "gelu") else computes
    says = "quick_gelu" if known.get("quick_gelu", False) else unmarked
    check_activation(name, computes, f"{name} {tag}", says, stated)
    try:
        file = download_pretrained(known)
    except Exception as error:  # urllib, requests and huggingface_hub each have their own
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"'{tag}' of '{name}' cannot be downloaded ({first[:160]}); name a local file instead"
        ) from error
    weights = read_weights(file)
    weights.activation = says
    weights.preprocess = {key: known[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in known}
    return weights


def _tags(name: str) -> str:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    return f"the tags {', '.join(tags)}" if tags and not is_own(name) else "no tags"
