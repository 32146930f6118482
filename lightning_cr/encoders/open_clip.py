"""Any open_clip model as an :class:`~lightning_cr.encoders.base.Encoder`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lightning_cr.encoders.activation import activation_of
from lightning_cr.encoders.base import Encoder, EncoderConfig, Preprocess, Tokenizer
from lightning_cr.errors import ConfigError

__all__ = ["OpenClipEncoder", "shortens"]

POOLS_AT_END = ("argmax", "eos", "first")


class OpenClipEncoder(Encoder):
    """An open_clip ``CLIP`` or ``CustomTextCLIP`` model.

    The weights stay in ``model`` under open_clip's own names, so what is trained here loads there.

    Args:
        model: Built and, if wanted, loaded.
        config: What it was built from; freezing, checkpointing and chunk size are read here.
        tokenizer: For the text tower.
        preprocess: For the image tower.
        dim: Size D of the shared space.

    Raises:
        ConfigError: Chunks or checkpointing cannot be exact in this image tower.
    """

    model: nn.Module
    mean: Tensor
    std: Tensor

    def __init__(
        self, model: nn.Module, config: EncoderConfig, tokenizer: Tokenizer, preprocess: Preprocess, dim: int
    ) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.dim = dim
        self.model = model
        self.activation = activation_of(model)
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocess.std).view(3, 1, 1), persistent=False)
        self._freeze()
        if config.gradient_checkpointing:
            self._checkpoint_towers()
        if config.micro_batch_size < 0:
            raise ConfigError(f"micro_batch_size is {config.micro_batch_size}; it must be 0 (all rows at once) or more")
        if config.length_groups < 1:
            raise ConfigError(f"length_groups is {config.length_groups}; it must be 1 (one group) or more")
        if config.micro_batch_size and not config.freeze_image and has_batch_norm(self._tower("visual")):
            raise ConfigError(
                f"micro_batch_size is {config.micro_batch_size}, but the image tower of '{config.name}' has batch "
                "normalisation, whose statistics would be those of a chunk; set it to 0, or freeze_image to true"
            )

    @property
    def log_logit_scale(self) -> nn.Parameter:  # type: ignore[override]  # one parameter, registered once, in the model
        """The model's own parameter: the logarithm of the factor from cosine to logit."""
        scale: nn.Parameter = self.model.logit_scale  # type: ignore[assignment]
        return scale

    @property
    def logit_scale(self) -> Tensor:
        """Factor from cosine to logit, fp32 scalar."""
        return self.log_logit_scale.float().exp().reshape(())

    def encode_image(self, images: Tensor) -> Tensor:
        """``(N, 3, H, W)`` uint8 to ``(N, D)`` unit vectors in fp32; N may be 0."""
        return self._rows(self._image_features, images, frozen=self.config.freeze_image)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """``(N, L)`` token ids, L at most the context length, to ``(N, D)`` unit vectors in fp32; N may be 0."""
        missing = self.context_length - tokens.shape[1]
        if missing > 0 and not self.tokenizer.shortens:
            tokens = F.pad(tokens, (0, missing), value=self.tokenizer.pad_id)
        if self.config.length_groups == 1 or not self.tokenizer.shortens or not tokens.shape[0]:
            return self._rows(self._text_features, tokens, frozen=self.config.freeze_text)
        used = tokens.ne(self.tokenizer.pad_id) * torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        lengths = used.amax(1)
        order = lengths.argsort()
        groups = [rows for rows in order.tensor_split(self.config.length_groups) if len(rows)]
        cut = [tokens[rows, : max(1, int(lengths[rows[-1]]))] for rows in groups]
        encoded = [self._rows(self._text_features, part, frozen=self.config.freeze_text) for part in cut]
        return torch.cat(encoded)[order.argsort()]

    @property
    def context_length(self) -> int:
        """Columns of an uncut row of tokens."""
        return int(getattr(self.tokenizer, "context_length", 0) or self.model.context_length)  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> OpenClipEncoder:
        """Sets the mode of the towers that train; a frozen tower stays in evaluation mode, its statistics included."""
        super().train(mode)
        if self.config.freeze_image:
            self._tower("visual").eval()
        if self.config.freeze_text:
            for module in self._text_modules():
                module.eval()
        return self

    def _image_features(self, images: Tensor) -> Tensor:
        pixels = images.float().div(255).sub(self.mean).div(self.std)
        pixels = pixels.to(next(self._tower("visual").parameters()).dtype)  # bf16-true and the like
        features: Tensor = self.model.encode_image(pixels)  # type: ignore[operator]
        return features

    def _text_features(self, tokens: Tensor) -> Tensor:
        tower: Any = getattr(self.model, "text", self.model)  # CLIP holds its text tower's parts itself
        length = tokens.shape[1]
        if not hasattr(tower, "token_embedding") or length == self.context_length:
            full: Tensor = self.model.encode_text(tokens)  # type: ignore[operator]
            return full
        # open_clip does not shorten: its mask stays context x context. The same steps over the first columns:
        from open_clip.transformer import text_global_pool

        dtype = tower.transformer.get_cast_dtype()
        x = tower.token_embedding(tokens).to(dtype) + tower.positional_embedding[:length].to(dtype)
        x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
        pool, end = (getattr(tower, f"text_{key}", getattr(tower, key, None)) for key in ("pool_type", "eos_id"))
        pooled: Tensor = text_global_pool(x, tokens, pool, eos_token_id=end)
        projection = tower.text_projection
        if projection is None:
            return pooled
        projected: Tensor = projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
        return projected

    def _rows(self, encode: Callable[[Tensor], Tensor], rows: Tensor, frozen: bool) -> Tensor:
        if rows.shape[0] == 0:  # reshapes inside the towers are ambiguous on nothing
            return torch.zeros(0, self.dim, device=rows.device)
        size = self.config.micro_batch_size or rows.shape[0]
        with torch.no_grad() if frozen else nullcontext():
            again = bool(self.config.micro_batch_size) and torch.is_grad_enabled()
            chunks = [
                checkpoint(encode, chunk, use_reentrant=False) if again else encode(chunk)
                for chunk in torch.split(rows, size)
            ]
            return F.normalize(torch.cat(chunks).float(), dim=-1)

    def _tower(self, name: str) -> nn.Module:
        return self.model.get_submodule(name)

    def _text_modules(self) -> Iterator[nn.Module]:
        return (module for name, module in self.model.named_children() if name != "visual")

    def _freeze(self) -> None:
        for name, parameter in self.model.named_parameters():
            image = name.startswith("visual.")
            text = not image and name not in ("logit_scale", "logit_bias")
            # no loss here uses SigLIP's bias, and DDP wants no unused parameter
            if (image and self.config.freeze_image) or (text and self.config.freeze_text) or name == "logit_bias":
                parameter.requires_grad_(False)
        self.train(self.training)

    def _checkpoint_towers(self) -> None:
        model: Any = self.model
        if not self.config.freeze_image:
            if has_batch_norm(self._tower("visual")):
                raise ConfigError(
                    f"gradient_checkpointing is true, but the image tower of '{self.config.name}' has batch "
                    "normalisation, whose statistics a second pass moves again; set it to false or freeze_image to true"
                )
            model.visual.set_grad_checkpointing(True)
        if not self.config.freeze_text:
            text = getattr(model, "text", model)
            if hasattr(text, "token_embedding"):
                text.transformer.grad_checkpointing = True
            else:  # open_clip's own switch leaves the choice of the kind to transformers' version
                text.transformer.gradient_checkpointing_enable({"use_reentrant": False})


def shortens(model: Any) -> bool:
    """Whether cutting columns of padding leaves every embedding of this open_clip model as it is."""
    tower = getattr(model, "text", model)
    if not hasattr(tower, "token_embedding"):
        return True  # Hugging Face towers mask their padding
    pool = getattr(tower, "text_pool_type", getattr(tower, "pool_type", ""))
    return tower.attn_mask is not None and pool in POOLS_AT_END and getattr(tower, "cls_emb", None) is None


def has_batch_norm(module: nn.Module) -> bool:
    """Whether a row's feature depends on the other rows of its batch."""
    return any(isinstance(child, nn.modules.batchnorm._BatchNorm) for child in module.modules())
