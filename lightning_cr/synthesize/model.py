"""The LightningModule of the generator: wrong captions in, pictures in the store out."""

from __future__ import annotations

import inspect
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning as pl
import torch
from PIL import Image
from torch import Tensor

from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError
from lightning_cr.negatives.image.store import Made
from lightning_cr.synthesize.boxes import mask
from lightning_cr.synthesize.judge import FilterConfig, Judge
from lightning_cr.synthesize.pipeline import Dtype, Mode, digest, left_over, mode_of, open_pipeline, quiet, too_long
from lightning_cr.synthesize.plan import digest_of
from lightning_cr.synthesize.prompts import INSTRUCTIONS, Prompts
from lightning_cr.synthesize.work import Work

__all__ = ["Synthesis"]

_SHOWN = 3  # prompts that are too long


class Synthesis(pl.LightningModule):
    """Paints the pictures of wrong captions by a diffusers pipeline, and writes each shard when it is whole.

    Every picture has a generator of its own on the CPU, seeded by what it is of, so that neither the device nor the
    number of processes changes its noise.

    Args:
        pipeline: A folder that diffusers' ``save_pretrained`` wrote, or a name on the hub that was fetched.
        mode: ``text_to_image`` paints the negative caption; ``image_to_image`` begins with the original; ``instruct``
            edits it by an instruction (InstructPix2Pix); ``inpaint`` paints the box of the replaced thing anew.
            ``auto`` is what the pipeline's class does.
        steps: Of denoising; the pipeline's own number where None, as with the next four.
        guidance: Scale of classifier-free guidance by the prompt.
        image_guidance: By the original, of an instructed edit.
        strength: How far from the original, in 0..1, of ``image_to_image`` and ``inpaint``.
        negative_prompt: What not to paint.
        size: Side of the pictures in pixels, the training size of the pipeline.
        dtype: ``auto`` is bf16 on a GPU (fp16 on one without it) and fp32 elsewhere.
        variant: Which of several files of weights, such as ``fp16``.
        prompt: Template with ``{negative}``, ``{caption}``, ``{original}`` and ``{replacement}``.
        instructions: Templates in its place by kind of negative, used by ``instruct`` alone; other kinds are told the
            prompt.
        format: ``jpg`` or ``png``.
        quality: Of JPEG, 1..100.
        filter: An encoder that measures whether the pictures show what they should; None measures nothing.
        sheet: Rows of the contact sheet, 0 for none.

    Raises:
        ConfigError: No pipeline, an unknown field in a template, or a number out of range.
    """

    def __init__(
        self,
        pipeline: str = "",
        mode: Mode = "auto",
        steps: int | None = None,
        guidance: float | None = None,
        image_guidance: float | None = None,
        strength: float | None = None,
        negative_prompt: str | None = None,
        size: int = 512,
        dtype: Dtype = "auto",
        variant: str | None = None,
        prompt: str = "{negative}",
        instructions: dict[str, str] = INSTRUCTIONS,
        format: Literal["jpg", "png"] = "jpg",
        quality: int = 92,
        filter: FilterConfig | None = None,
        sheet: int = 24,
    ) -> None:
        super().__init__()
        if not pipeline:
            raise ConfigError(
                "--model.pipeline is missing; name a folder or a model of diffusers, such as"
                " stable-diffusion-v1-5/stable-diffusion-v1-5"
            )
        for name, value, least, most in (
            ("steps", steps, 1, 1000),
            ("strength", strength, 0.0, 1.0),
            ("size", size, 8, 8192),
            ("quality", quality, 1, 100),
            ("sheet", sheet, 0, 1000),
        ):
            if value is not None and not least <= value <= most:
                raise ConfigError(f"--model.{name} is {value}; it must be between {least} and {most}")
        self.name, self.wanted_mode, self.dtype_name, self.variant = pipeline, mode, dtype, variant
        self.size = size
        self.options = {
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "image_guidance_scale": image_guidance,
            "strength": strength,
            "negative_prompt": negative_prompt,
        }
        self.prompts = Prompts(prompt, instructions)
        self.suffix, self.quality = format, quality
        self.filter = filter
        self.sheet = sheet
        self.too_long = 0
        """Prompts of this run that were longer than the pipeline's text towers take."""
        self.judge = Judge(filter.encoder) if filter else None

    def setup(self, stage: str) -> None:
        """Opens the pipeline on this process's device.

        Raises:
            ConfigError: It does not take an option, or a size; see also
                :func:`lightning_cr.synthesize.pipeline.open_pipeline`.
        """
        device = self.trainer.strategy.root_device
        self.pipeline = open_pipeline(self.name, self.wanted_mode, self.dtype_name, device, self.variant)
        self.mode = mode_of(self.pipeline) if self.wanted_mode == "auto" else self.wanted_mode
        self.options = {name: value for name, value in self.options.items() if value is not None}
        if refused := left_over(self.pipeline, self.options):
            names = ", ".join(f"--model.{_FLAGS.get(name, name)}" for name in refused)
            raise ConfigError(f"{type(self.pipeline).__name__} has no such option: {names}; leave it out")
        factor = getattr(self.pipeline, "vae_scale_factor", 8)
        if self.size % factor:
            raise ConfigError(f"--model.size is {self.size}; this pipeline needs a multiple of {factor}")
        if self.mode != "instruct":
            self.prompts = Prompts(self.prompts.template)
        self.recipe: dict[str, Any] = {
            "pipeline": Path(self.name).name,
            "class": type(self.pipeline).__name__,
            "weights": digest(self.pipeline),
            "mode": self.mode,
            "dtype": str(self.pipeline.dtype).removeprefix("torch."),
            "size": self.size,
            "prompt": self.prompts.template,
            "instructions": dict(self.prompts.instructions),
            "format": self.suffix,
            "quality": self.quality if self.suffix == "jpg" else None,
            **({"original": "squash"} if self.needs_originals else {}),
            **self.options,
        }
        try:
            self.pipeline.to(device)
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"{self.name} does not fit on the GPU; use --model.dtype bf16 or a smaller one"
            ) from error

    @property
    def recipe_digest(self) -> str:
        """Of all that decides the pixels; where the pipeline's folder lies and what it is called does not."""
        return digest_of({name: value for name, value in self.recipe.items() if name != "pipeline"})

    @property
    def needs_originals(self) -> bool:
        """Whether the pipeline edits the original."""
        return self.mode != "text_to_image"

    @property
    def reads_originals(self) -> bool:
        """Whether the loader has files to read."""
        return self.needs_originals or self.judge is not None

    @property
    def judge_preprocess(self) -> Preprocess | None:
        """How the encoder that judges takes pictures."""
        return self.judge.encoder.preprocess if self.judge else None

    def tell_too_long(self, plan: Any) -> None:
        """Counts prompts whose end no text tower sees, and shows the first.

        Args:
            plan: Rows of :data:`lightning_cr.synthesize.plan.SCHEMA`.
        """
        for batch in plan.to_batches(max_chunksize=1000):
            prompts = [self.prompts(row) for row in batch.to_pylist()]
            for at in too_long(self.pipeline, prompts):
                if self.too_long < _SHOWN:
                    print(f"longer than the pipeline reads, its end is not painted: {prompts[at]}")
                self.too_long += 1
        if self.too_long > _SHOWN:
            print(f"{self.too_long:,} prompts are longer than the pipeline reads")

    def predict_step(self, batch: Work, batch_idx: int) -> int:
        """Makes one shard and writes it.

        Returns:
            How many pictures there are of it.

        Raises:
            ConfigError: The GPU's memory is not enough for a batch.
            DataError: The disk does not take it.
        """
        if not batch.rows:
            return 0
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        readable = [at for at, row in enumerate(batch.rows) if row["image_id"] not in batch.unreadable]
        made: list[Made] = []  # without the unreadable: whoever mends those files has them made by the next run
        pictures: list[bytes | None] = []
        for start in range(0, len(readable), data.batch_size):
            places = readable[start : start + data.batch_size]
            images, blank = self.paint(batch, places)
            margins = self._margins(batch, places, images)
            for at, image, is_blank, (text, picture) in zip(places, images, blank, margins, strict=True):
                passes = self.filter is None or not self.filter.drop or self.filter.keeps(text, picture)
                dropped = "blank" if is_blank else "" if passes else "filter"
                margin = (None, None) if is_blank else (text, picture)
                made.append(self._made(batch.rows[at], dropped, *margin))
                pictures.append(None if dropped else self.encode(image))
        if not made:
            return 0
        data.store.write(batch.unit, made, pictures, self.suffix)
        return sum(picture is not None for picture in pictures)

    def paint(self, batch: Work, places: Sequence[int]) -> tuple[list[Image.Image], list[bool]]:
        """The pictures of some rows, and which of them are blank.

        Args:
            batch: A shard.
            places: Of the rows in it.
        """
        rows = [batch.rows[at] for at in places]
        given: dict[str, Any] = {
            **self.options,
            "prompt": [self.prompts(row) for row in rows],
            "generator": [torch.Generator().manual_seed(row["seed"]) for row in rows],
        }
        if "negative_prompt" in given:
            given["negative_prompt"] = [given["negative_prompt"]] * len(rows)
        takes = inspect.signature(self.pipeline.__call__).parameters
        given |= {side: self.size for side in ("height", "width") if side in takes}
        if self.needs_originals and batch.originals is not None:
            given["image"] = [_image(batch.originals[at]) for at in places]
        if self.mode == "inpaint" and batch.boxes is not None:
            given["mask_image"] = [mask(batch.boxes[at], self.size) for at in places]
        try:
            with quiet():
                done = self.pipeline(**given)
        except torch.OutOfMemoryError as error:
            fewer = f"--data.batch_size {max(1, len(rows) // 2)}" if len(rows) > 1 else "a smaller --model.size"
            raise ConfigError(
                f"the GPU has no memory for {len(rows)} pictures of {self.size} pixels at once; use {fewer}, what is"
                " in the store is kept"
            ) from error
        flagged = getattr(done, "nsfw_content_detected", None) or [False] * len(rows)
        blank = [
            bool(flag) or image.convert("L").getextrema()[1] == 0
            for image, flag in zip(done.images, flagged, strict=True)
        ]
        return done.images, blank

    def encode(self, image: Image.Image) -> bytes:
        """The picture as a file."""
        file = io.BytesIO()
        if self.suffix == "png":
            image.save(file, "PNG")
        else:
            image.save(file, "JPEG", quality=self.quality)
        return file.getvalue()

    def _margins(
        self, batch: Work, places: Sequence[int], images: Sequence[Image.Image]
    ) -> list[tuple[float, float]] | list[tuple[None, None]]:
        if self.judge is None or batch.judged is None:
            return [(None, None)] * len(places)
        rows = [batch.rows[at] for at in places]
        made = torch.stack([self.judge.pixels(image) for image in images])
        captions, negatives = ([row[name] for row in rows] for name in ("caption", "negative"))
        found = self.judge(batch.judged[list(places)].to(self.device), made.to(self.device), captions, negatives)
        return list(zip(*found, strict=True))

    def _made(self, row: dict[str, Any], dropped: str, text: float | None, image: float | None) -> Made:
        pipeline = f"{self.recipe['pipeline']}:{self.recipe_digest}"
        return Made(**row, pipeline=pipeline, dropped=dropped, text_margin=text, image_margin=image)


_FLAGS = {
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "image_guidance_scale": "image_guidance",
}
"""What diffusers' options are called here, where that differs."""


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
