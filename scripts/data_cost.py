"""What a training sample costs to load, and which share of that the text negatives are, on one core.

    python scripts/data_cost.py train2017 coco_karpathy_test.json

Pictures are enlarged to COCO's usual 640 pixels where they are smaller, and written anew as JPEG; reading, decoding,
cropping and resizing to 224, tags and tokens are what training does with ``configs/ahnpl.yaml`` and
``configs/coco.yaml``. Time is that of the processor, so that what else runs on the machine counts for little.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from lightning_cr.cli import build
from lightning_cr.data.base import sample_rng
from lightning_cr.encoders import EncoderConfig, build_encoder
from lightning_cr.encoders.base import tokenize
from lightning_cr.encoders.preprocess import resize_and_crop
from lightning_cr.images import read_image
from lightning_cr.negatives.text import TextNegatives

CONFIG = Path(__file__).parents[1] / "configs" / "ahnpl.yaml"
LONGER_SIDE, CROP, BATCH = 640, (0.9, 1.0), 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="folder of JPEGs")
    parser.add_argument("captions", type=Path)
    parser.add_argument("--samples", type=int, default=1280)
    parser.add_argument("--cache", default=None, help="folder of annotations; the user's cache by default")
    given = parser.parse_args()
    torch.set_num_threads(1)

    encoder = build_encoder(EncoderConfig(name="ViT-B-32-quickgelu", pretrained=""))
    tokenizer, preprocess = encoder.tokenizer, encoder.preprocess
    doors = {way: TextNegatives(build([CONFIG]).datamodule.negatives.rules) for way in ("plain", "learned", "compiled")}
    doors["learned"].cache = doors["compiled"].cache = given.cache
    rows = json.loads(given.captions.read_text(encoding="utf-8"))
    corpus = doors["learned"].annotate([text.strip() for row in rows for text in row["caption"]])
    for way in ("learned", "compiled"):
        doors[way].learn(corpus)
    doors["compiled"].compile()
    chosen = random.Random(0).sample(range(len(corpus)), given.samples)

    spent: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = enlarged(given.pictures, Path(folder))

        def picture(at: int) -> None:
            rng = sample_rng(0, 0, at)
            resize_and_crop(read_image(paths[at % len(paths)]), preprocess, rng, CROP)

        spent["picture"] = timed(picture, given.samples)
    made: dict[str, list[list[str]]] = {}
    for way, door in doors.items():
        texts = made[way] = [[] for _ in chosen]

        def negatives(at: int, door: TextNegatives = door, texts: list[list[str]] = texts) -> None:
            index = chosen[at]
            caption = corpus[index]
            found = door(caption, sample_rng(0, 0, index))
            texts[at] = [caption.text, *(negative.text for negative in found if negative is not None)]

        spent[way] = timed(negatives, given.samples)

    def tokens(at: int) -> None:
        if at % BATCH == 0:
            tokenize(tokenizer, [text for row in made["learned"][at : at + BATCH] for text in row])

    spent["tokens"] = timed(tokens, given.samples)
    for way in doors:
        filled = sum(len(row) - 1 for row in made[way]) / given.samples
        whole = spent["picture"] + spent["tokens"] + spent[way]
        print(
            f"{way}: {1000 * whole:.2f} ms a sample on one core, {filled:.2f} of {len(doors[way].kinds)} slots filled"
        )
        for part in ("picture", "tokens", way):
            name = "negatives" if part == way else part
            print(f"  {name:<10}{1000 * spent[part]:>8.3f} ms{100 * spent[part] / whole:>7.1f} %")


def enlarged(folder: Path, to: Path) -> list[Path]:
    paths = []
    for path in sorted(folder.glob("*.jpg")):
        picture = Image.open(path).convert("RGB")
        scale = max(1.0, LONGER_SIDE / max(picture.size))
        width, height = (round(side * scale) for side in picture.size)
        paths.append(to / path.name)
        picture.resize((width, height), Image.Resampling.LANCZOS).save(paths[-1], quality=90)
    return paths


def timed(work: Callable[[int], None], samples: int) -> float:
    """Seconds of processor time a sample; the first tenth warms up."""
    for at in range(samples // 10):
        work(at)
    start = time.process_time()
    for at in range(samples):
        work(at)
    return (time.process_time() - start) / samples


if __name__ == "__main__":
    main()
