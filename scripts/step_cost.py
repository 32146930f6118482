"""What one training step costs here, against the way the public trainers do it, on the same model and batch.

The public trainers (NegCLIP, CE-CLIP, AHNPL) encode every text at the full 77 tokens and every slot, also the empty
ones, which hold the text ``###``. Here only the negatives that exist are encoded, cut to the longest text of the batch.
Both ways run alternately in one process, with the same weights and the same loss, which must come out the same.

    python scripts/step_cost.py --captions coco_karpathy_test.json

Pixels are random (no picture changes the cost); the weights are random and stay as they are: AdamW steps with rate 0.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from lightning_cr.batch import Features, unpack
from lightning_cr.encoders import EncoderConfig, build_encoder
from lightning_cr.encoders.base import tokenize
from lightning_cr.encoders.open_clip import OpenClipEncoder
from lightning_cr.losses import ContrastiveLoss
from lightning_cr.negatives.text import (
    ReplaceAttribute,
    ReplaceObject,
    ReplaceRelation,
    SwapAttributes,
    SwapObjects,
    TextNegatives,
)

EMPTY = "###"
RULES = {
    "replace_obj": ReplaceObject,
    "replace_att": ReplaceAttribute,
    "replace_rel": ReplaceRelation,
    "swap_obj": SwapObjects,
    "swap_att": SwapAttributes,
}
PARTS = ("image tower", "text tower", "loss", "backward", "optimiser")


def draw(path: Path, batch: int, seed: int) -> tuple[list[str], list[list[str | None]]]:
    """One caption of each of ``batch`` pictures and its K negatives, None where there is none."""
    rng = random.Random(seed)
    entries = rng.sample(json.loads(path.read_text(encoding="utf-8")), batch)
    captions = [rng.choice(entry["caption"]).strip() for entry in entries]
    negatives = TextNegatives(rules={kind: rule() for kind, rule in RULES.items()})
    return captions, [[made and made.text for made in negatives(caption, rng)] for caption in captions]


class Step:
    """One training step in parts, each of them timed."""

    def __init__(self, encoder: OpenClipEncoder, images: Tensor, precision: str) -> None:
        self.encoder = encoder
        self.images = images
        self.device = images.device
        self.precision = precision
        self.loss = ContrastiveLoss(hard_negatives="all")
        self.optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.0, weight_decay=0.0)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Adds the seconds of what runs inside to a part."""
        start = self.now()
        yield
        self.seconds[part].append(self.now() - start)

    def now(self) -> float:
        """Seconds on a clock, after the device has done its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def run(self, texts: Callable[[], tuple[Tensor, Tensor, Tensor]]) -> float:
        """Runs the step; ``texts`` gives captions ``(B, D)``, negatives ``(B, K, D)`` and their mask ``(B, K)``."""
        self.optimizer.zero_grad(set_to_none=True)
        ids = torch.arange(len(self.images), device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            with self.timed("image tower"):
                image = self.encoder.encode_image(self.images)
            with self.timed("text tower"):
                text, negative, mask = texts()
        with self.timed("loss"):
            value = self.loss(
                Features(
                    image=image,
                    text=text,
                    negative_text=negative,
                    negative_text_mask=mask,
                    negative_image=image.new_zeros(len(ids), 0, image.shape[1]),
                    negative_image_mask=mask[:, :0],
                    concreteness=torch.zeros_like(mask, dtype=torch.float32),
                    kinds=tuple(RULES),
                    sample_ids=ids,
                    image_ids=ids,
                    logit_scale=self.encoder.logit_scale,
                )
            ).value
        with self.timed("backward"):
            value.backward()
        with self.timed("optimiser"):
            self.optimizer.step()
        return value.item()

    def medians(self, skip: int) -> dict[str, float]:
        """Seconds of each part over the repeats, without the first ``skip``."""
        return {part: statistics.median(self.seconds[part][skip:]) for part in PARTS}

    def totals(self, skip: int) -> list[float]:
        """Seconds of each whole step."""
        return [sum(parts) for parts in zip(*(self.seconds[part] for part in PARTS), strict=True)][skip:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=Path, required=True, help="COCO captions in JSON, as of 2210.01936")
    parser.add_argument("--name", default="ViT-B-32-quickgelu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    encoder = build_encoder(EncoderConfig(name=args.name, pretrained="")).to(args.device).train()
    assert isinstance(encoder, OpenClipEncoder)
    captions, negatives = draw(args.captions, args.batch, args.seed)
    size = encoder.preprocess.size
    images = torch.randint(0, 256, (args.batch, 3, size, size), dtype=torch.uint8, device=args.device)
    mask = torch.tensor([[text is not None for text in row] for row in negatives], device=args.device)
    existing = [text for row in negatives for text in row if text is not None]
    index = torch.where(mask, mask.flatten().cumsum(0).reshape(mask.shape) - 1, -1)
    packed = tokenize(encoder.tokenizer, [*captions, *existing]).to(args.device)
    slots = [text or EMPTY for row in negatives for text in row]
    every = encoder.tokenizer([*captions, *slots]).to(args.device)

    def ours() -> tuple[Tensor, Tensor, Tensor]:
        features = encoder.encode_text(packed)
        return features[: args.batch], *unpack(features[args.batch :], index)

    def public() -> tuple[Tensor, Tensor, Tensor]:
        features = functional.normalize(encoder.model.encode_text(every).float(), dim=-1)
        return features[: args.batch], features[args.batch :].reshape(args.batch, mask.shape[1], -1), mask

    ways = {
        "here": (ours, Step(encoder, images, args.precision)),
        "public": (public, Step(encoder, images, args.precision)),
    }
    losses: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(args.repeats + 1):  # the first round warms up
        for way, (texts, step) in ways.items():
            losses[way].append(step.run(texts))

    print(
        f"{args.name}, random weights, {args.precision} on {args.device} ({torch.get_num_threads()} CPU threads), "
        f"batch {args.batch}, K = {len(RULES)}, {args.repeats} alternating repeats"
    )
    print(
        f"texts: here {packed.shape[0]} x {packed.shape[1]} tokens ({len(existing)} of {mask.numel()} slots filled), "
        f"public {every.shape[0]} x {every.shape[1]}"
    )
    medians = {way: step.medians(skip=1) for way, (_, step) in ways.items()}
    print(f"\n{'median seconds':<16}{'here':>10}{'public':>10}{'ratio':>8}")
    for part in PARTS:
        here, there = medians["here"][part], medians["public"][part]
        print(f"{part:<16}{here:>10.4f}{there:>10.4f}{here / there:>8.2f}")
    totals = {way: step.totals(skip=1) for way, (_, step) in ways.items()}
    here, there = (statistics.median(totals[way]) for way in ("here", "public"))
    print(f"{'whole step':<16}{here:>10.4f}{there:>10.4f}{here / there:>8.2f}")
    for way, seconds in totals.items():
        print(f"  {way}: each repeat {', '.join(f'{second:.4f}' for second in seconds)}")
    difference = max(abs(a - b) for a, b in zip(losses["here"], losses["public"], strict=True))
    print(
        f"loss: here {losses['here'][-1]:.7f}, public {losses['public'][-1]:.7f}, largest difference {difference:.1e}"
    )
    tolerance = 1e-4 if args.precision == "fp32" else 5e-2
    if difference > tolerance:
        raise SystemExit(f"the two ways do not give the same loss: {difference:.1e} is more than {tolerance:.0e}")


if __name__ == "__main__":
    main()
