"""What a picture of a wrong caption costs, and where its time goes: `synthesize` with random weights.

On a GPU the pipeline has the sizes of Stable Diffusion 1.5 and paints 512 pixels in 30 steps of bf16, and the filter's
encoder is ViT-B/32; on a CPU both are tiny: that shows the parts alone. Originals are noise of COCO's size.

    python scripts/synthesis_cost.py                        # text to image
    python scripts/synthesis_cost.py --mode image_to_image --batch_size 32

Nothing is downloaded: no weights change the cost.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as pl
import numpy as np
import torch
from PIL import Image

from lightning_cr.data import CocoFolder
from lightning_cr.encoders import EncoderConfig
from lightning_cr.negatives.image.store import PictureStore
from lightning_cr.negatives.text import ReplaceAttribute, ReplaceObject, SwapObjects, TextNegatives
from lightning_cr.synthesize.data import Shards, SynthesisData
from lightning_cr.synthesize.judge import FilterConfig
from lightning_cr.synthesize.model import Synthesis

CAPTIONS = ("A red dog near a large wooden table.", "A woman in a blue shirt holding a small umbrella on a beach.")
CLASSES = {"text_to_image": "StableDiffusionPipeline", "image_to_image": "StableDiffusionImg2ImgPipeline"}
CLASSES |= {"instruct": "StableDiffusionInstructPix2PixPipeline"}
# As in the public model cards of Stable Diffusion 1.5 and CLIP ViT-L/14; everything else is the library's default.
REAL = {
    "unet": {"sample_size": 64, "cross_attention_dim": 768},
    "vae": {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4},
    "blocks": 4,
    "text": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
}
TINY = {
    "unet": {
        "sample_size": 16,
        "cross_attention_dim": 16,
        "attention_head_dim": 4,
        "block_out_channels": (8, 16),
        "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    },
    "vae": {"block_out_channels": (8, 16), "norm_num_groups": 4, "latent_channels": 4},
    "blocks": 2,
    "text": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
}
PARTS = (
    "loading originals",
    "prompts",
    "encoding originals",
    "denoising",
    "decoding latents",
    "filter",
    "jpeg",
    "writing",
)


def tokenizer(folder: Path) -> Any:
    """CLIP's own vocabulary, which open_clip carries."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    clip = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    folder.mkdir()
    vocabulary = {names.get(word, word): at for word, at in clip.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    merges = [" ".join(pair) for pair in clip.bpe_ranks]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


def save_pipeline(folder: Path, mode: str, sizes: dict[str, Any]) -> Path:
    """A pipeline of random weights, saved."""
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    words = tokenizer(folder / "words")
    blocks = {
        "down_block_types": ("DownEncoderBlock2D",) * sizes["blocks"],
        "up_block_types": ("UpDecoderBlock2D",) * sizes["blocks"],
    }
    parts = {
        "unet": diffusers.UNet2DConditionModel(in_channels=8 if mode == "instruct" else 4, **sizes["unet"]),
        "vae": diffusers.AutoencoderKL(**sizes["vae"], **blocks),
        "text_encoder": CLIPTextModel(CLIPTextConfig(vocab_size=len(words), eos_token_id=49407, **sizes["text"])),
        "tokenizer": words,
        "scheduler": diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        "safety_checker": None,
        "feature_extractor": None,
    }
    getattr(diffusers, CLASSES[mode])(**parts, requires_safety_checker=False).save_pretrained(folder / "pipeline")
    return folder / "pipeline"


def save_pictures(root: Path, count: int) -> Path:
    """Pictures of noise in COCO's layout and size."""
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    rng = np.random.default_rng(0)
    annotations = []
    for number in range(1, count + 1):
        pixels = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((640, 480)).save(root / "train2017" / f"{number:012d}.jpg")
        annotations += [{"id": number, "image_id": number, "caption": CAPTIONS[number % len(CAPTIONS)]}]
    images = [{"id": number, "file_name": f"{number:012d}.jpg"} for number in range(1, count + 1)]
    data = {"images": images, "annotations": annotations}
    (root / "annotations/captions_train2017.json").write_text(json.dumps(data))
    return root


class Clock:
    """Seconds by part; a part inside another is not counted twice."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def now(self) -> float:
        """Seconds, after the device has done its work."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Adds what runs inside to a part."""
        start = self.now()
        self._inner.append(0.0)
        yield
        spent = self.now() - start
        self.seconds[part] += spent - self._inner.pop()
        self._inner[-1] += spent

    def watch(self, thing: Any, name: str, part: str) -> None:
        """Times a method from now on."""
        real: Callable[..., Any] = getattr(thing, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.timed(part):
                return real(*args, **kwargs)

        setattr(thing, name, timed)


class Watched(Synthesis):
    """The generator with a clock at its parts; the first shard warms up and does not count."""

    clock: Clock

    def on_predict_start(self) -> None:
        """Looks inside the pipeline, which is open now."""
        for thing, name, part in (
            (self.pipeline, "encode_prompt", "prompts"),
            (self.pipeline, "_encode_prompt", "prompts"),
            (self.pipeline.vae, "encode", "encoding originals"),
            (self.pipeline.vae, "decode", "decoding latents"),
            (self, "paint", "denoising"),
            (self, "_margins", "filter"),
            (self, "encode", "jpeg"),
            (self.trainer.datamodule.store, "write", "writing"),
        ):
            if hasattr(thing, name):
                self.clock.watch(thing, name, part)

    def on_predict_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Begins to count behind the first shard."""
        if batch_idx == 0:
            self.clock.seconds.clear()
            self.began = self.clock.now()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    real = device == "cuda"
    parser.add_argument("--mode", choices=list(CLASSES), default="text_to_image")
    parser.add_argument("--batch_size", type=int, default=16 if real else 4)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--steps", type=int, default=30 if real else 2)
    parser.add_argument("--size", type=int, default=512 if real else 64)
    args = parser.parse_args()
    for library in ("lightning.pytorch", "lightning_cr"):
        logging.getLogger(library).setLevel(logging.ERROR)

    with tempfile.TemporaryDirectory() as name:
        folder, clock = Path(name), Clock(device)
        shard = 2 * args.batch_size
        count = shard * (args.shards + 1)
        data = SynthesisData(
            CocoFolder(sample_by="caption"),
            str(save_pictures(folder / "coco", count)),
            str(folder / "store"),
            negatives=TextNegatives(
                {"replace_obj": ReplaceObject(), "replace_att": ReplaceAttribute(), "swap_obj": SwapObjects()}
            ),
            limit=count,
            shard=shard,
            batch_size=args.batch_size,
        )
        model = Watched(
            str(save_pipeline(folder, args.mode, REAL if real else TINY)),
            steps=args.steps,
            size=args.size,
            filter=FilterConfig(EncoderConfig("ViT-B-32-quickgelu" if real else "photos-tiny", "")),
            sheet=0,
        )
        model.clock = clock
        Shards.__getitem__ = _timed(Shards.__getitem__, clock)  # type: ignore[method-assign]
        trainer = pl.Trainer(
            logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator=device, devices=1
        )
        trainer.predict(model, datamodule=data, return_predictions=False)
        spent = clock.now() - model.began
        pictures = len(PictureStore(folder / "store")) - shard
        where = torch.cuda.get_device_name() if real else f"{torch.get_num_threads()} CPU threads"
        what = "the sizes of Stable Diffusion 1.5" if real else "a tiny pipeline"
        print(
            f"{args.mode}, {what}, random weights, {model.recipe['dtype']}, {args.size} pixels, {args.steps} steps,"
            f" batches of {args.batch_size}, on {where}"
        )
        print(f"{pictures} pictures in {spent:.2f} s: {pictures / spent:.2f} a second\n")
        print(f"{'part':<22}{'ms a picture':>14}{'share':>8}")
        left = spent - sum(clock.seconds.values())
        for part, seconds in [*((part, clock.seconds[part]) for part in PARTS), ("other", left)]:
            print(f"{part:<22}{1000 * seconds / pictures:>14.2f}{seconds / spent:>8.1%}")


def _timed(real: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    def timed(self: Shards, index: int) -> Any:
        with clock.timed("loading originals"):
            return real(self, index)

    return timed


if __name__ == "__main__":
    main()
