"""The door: from an :class:`~lightning_cr.encoders.base.EncoderConfig` to an encoder."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torch import nn

from lightning_cr.encoders.activation import activation_of, check_activation
from lightning_cr.encoders.architecture import HERE, construct, is_own, read_architecture
from lightning_cr.encoders.base import Encoder, EncoderConfig, Preprocess, Tokenizer
from lightning_cr.encoders.checkpoint import load_into
from lightning_cr.encoders.open_clip import OpenClipEncoder, shortens
from lightning_cr.encoders.pretrained import MAKE_BASE, find_weights, is_file
from lightning_cr.encoders.tokenizers import OpenClipTokenizer
from lightning_cr.encoders.words import WordTokenizer
from lightning_cr.errors import CheckpointError, ConfigError

__all__ = ["build_encoder"]

OWN_KEYS = ("tokenizer", "words", "preprocess")
PIXELS = ("mean", "std", "interpolation", "resize_mode")


def build_encoder(config: EncoderConfig) -> Encoder:
    """Builds the towers, loads their weights, and checks that the two belong together.

    Random weights are drawn from torch's global generator: the same seed gives the same model.

    Args:
        config: Which towers, from which weights, and which of them train.

    Raises:
        ConfigError: A name or value that is not known; the message names the nearest one and how to list them.
        CheckpointError: Weights that cannot be read, do not fit, or were trained with another activation.
    """
    if config.name.startswith(("hf-hub:", "local-dir:")):
        return _from_repository(config)
    architecture = read_architecture(config.name)
    own = {key: architecture.pop(key) for key in OWN_KEYS if key in architecture}
    words: WordTokenizer | None = None
    if own.get("tokenizer") == "words":
        words = WordTokenizer(HERE / own["words"], architecture["text_cfg"]["context_length"])
        architecture["text_cfg"]["vocab_size"] = words.vocab_size
    tokenizer: WordTokenizer | OpenClipTokenizer
    if config.name == "lite0-minilm":
        from lightning_cr.encoders.packaged import lite0_minilm

        model, tokenizer = lite0_minilm(architecture, load=config.pretrained == "base")
    else:
        model = construct(architecture, config.name)
        tokenizer = words or _tokenizer(config.name, architecture)
    pixels = {**_usual_pixels(config.name), **own.get("preprocess", {})}
    if config.pretrained and not (config.name == "lite0-minilm" and config.pretrained == "base"):
        weights = find_weights(config, activation_of(model))
        if words is not None and weights.vocabulary not in ("", words.digest):
            raise CheckpointError(
                f"'{weights.source}' belongs to another list of words than {own['words']}; {MAKE_BASE}"
            )
        load_into(model, weights, config.name)
        pixels |= weights.preprocess
    else:
        check_activation(config.name, activation_of(model), "random weights", activation_of(model), config.activation)
    return _wrap(model, config, tokenizer, pixels, architecture["embed_dim"])


def _from_repository(config: EncoderConfig) -> Encoder:
    """A folder or repository in open_clip's format, which holds definition and weights; a file is loaded over them."""
    import open_clip

    over = config.pretrained not in ("", "base")
    if over and not is_file(config.pretrained):
        raise ConfigError(
            f"pretrained is '{config.pretrained}', but '{config.name}' brings its own weights; leave it empty, or name"
            " a file that is loaded over them"
        )
    try:
        model = open_clip.create_model(config.name, require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(config.name)
        architecture = open_clip.get_model_config(config.name)
    except (OSError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"'{config.name}' cannot be loaded ({first[:160]}); it needs open_clip_config.json and weights"
        ) from error
    pixels = dict(model.visual.preprocess_cfg)
    if over:
        weights = find_weights(config, activation_of(model))
        load_into(model, weights, config.name)
        pixels |= weights.preprocess
    return _wrap(model, config, OpenClipTokenizer.around(tokenizer), pixels, architecture["embed_dim"])


def _wrap(
    model: nn.Module, config: EncoderConfig, tokenizer: Tokenizer, pixels: dict[str, Any], dim: int
) -> OpenClipEncoder:
    size: Any = model.get_submodule("visual").image_size
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    if height != width:
        raise ConfigError(f"'{config.name}' takes images of {height} x {width} pixels; only square ones are supported")
    tokenizer.shortens = tokenizer.shortens and shortens(model) and config.shorten
    mean, std = tuple(pixels["mean"]), tuple(pixels["std"])
    preprocess = Preprocess(int(height), mean, std, pixels["interpolation"], pixels["resize_mode"])
    return OpenClipEncoder(model, config, tokenizer, preprocess, dim)


@lru_cache(maxsize=4)
def _open_clip_tokenizer(name: str, context_length: int) -> Any:
    import open_clip

    if is_own(name):  # open_clip logs a warning for a name that it does not know
        return open_clip.SimpleTokenizer(context_length=context_length)
    return open_clip.get_tokenizer(name)


def _tokenizer(name: str, architecture: dict[str, Any]) -> OpenClipTokenizer:
    try:
        tokenizer = _open_clip_tokenizer(name.replace("/", "-"), architecture["text_cfg"].get("context_length", 77))
    except OSError as error:
        raise ConfigError(
            f"the tokenizer of '{name}' is not cached ({str(error).splitlines()[0]}); go online once"
        ) from error
    return OpenClipTokenizer.around(tokenizer)


def _usual_pixels(name: str) -> dict[str, Any]:
    """What all of a model's tags agree on, else open_clip's default, for a local file does not say it."""
    import open_clip
    from open_clip.transform import PreprocessCfg

    name = name.replace("/", "-")
    usual = {key: getattr(PreprocessCfg(), key) for key in PIXELS}
    tags = [open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)]
    for key in PIXELS:
        values = {tuple(v) if isinstance(v := tag.get(key, usual[key]), (list, tuple)) else v for tag in tags}
        if len(values) == 1:
            usual[key] = values.pop()
    return usual
