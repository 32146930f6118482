"""What a test of published benchmarks costs here, beside a loop over their rows as the official scripts have it.

    python scripts/benchmark_cost.py passes ../shared/data
    python scripts/benchmark_cost.py time ../shared/data --rows 500

The folder holds ``sugarcrepe``, ``sugarcrepe_pp``, ``valse`` and ``retrieval/coco_karpathy_test.json`` as their authors
publish them; the pictures that they name are made here, JPEGs of noise in a temporary folder. The model has random
weights, and nothing is read from an embedding cache.

``passes`` counts the pictures and captions that reach the towers in one test of the four together. ``time`` measures
SugarCrepe and SugarCrepe++: our ``test`` as a whole (model, annotations, encoding, scores with intervals, files)
against the loop alone (batch 1, decoding in the main thread; SugarCrepe one picture and two captions a row,
SugarCrepe++ one and three, each caption encoded by itself at full length), with the same weights on one thread. Both
must find the same number of rows right.

Seen on two cores that were shared with other work: 11,819 pictures and 54,689 captions in 39 seconds; on all 7,511 and
4,757 rows the test took 23.4 s and the loop 141.6 s, 6.1 times as long.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import normalize

from lightning_cr.benchmarks import CaptionRetrieval, SugarCrepe, SugarCrepePP, Valse
from lightning_cr.benchmarks.choice import FromFiles
from lightning_cr.cli import build, main
from lightning_cr.encoders.open_clip import OpenClipEncoder
from lightning_cr.encoders.preprocess import resize_and_crop

FILES = {
    "sugarcrepe": SugarCrepe("sugarcrepe"),
    "sugarcrepe++": SugarCrepePP("sugarcrepe_pp"),
    "valse": Valse("valse"),
    "coco": CaptionRetrieval("retrieval/coco_karpathy_test.json"),
}
DISTINCT = 64  # pictures of noise; the others are further names of these


def pictures(names: set[str], root: Path, size: tuple[int, int]) -> None:
    """A JPEG under each name, COCO's once by number whatever the annotations call it."""
    rng = np.random.default_rng(0)
    (root / "noise").mkdir()
    for number in range(DISTINCT):
        coarse = Image.fromarray(rng.integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(root / f"noise/{number}.jpg", quality=90)
    for number, name in enumerate(sorted(names)):
        stem = Path(name).stem.rpartition("_")[2] if Path(name).name.startswith("COCO_") else Path(name).stem
        path = root / (f"val2017/{stem}.jpg" if len(stem) == 12 and stem.isdigit() else name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(root / f"noise/{number % DISTINCT}.jpg", path)


def examples(benchmark: FromFiles, data: Path) -> list[Any]:
    return list(benchmark.examples(data / benchmark.annotations))


def shortened(data: Path, root: Path, rows: int) -> Path:
    """Copies of the two SugarCrepes with the first rows of each file."""
    for folder in ("sugarcrepe", "sugarcrepe_pp"):
        for path in sorted((data / folder).glob("*.json")):
            found = json.loads(path.read_text(encoding="utf-8"))
            kept = dict(list(found.items())[:rows]) if isinstance(found, dict) else found[:rows]
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / path.name).write_text(json.dumps(kept))
    return root


def flags(names: list[str], data: Path, root: Path, model: str, seed: int) -> list[str]:
    """Of our test."""
    tests = {
        name: {
            "class_path": type(FILES[name]).__name__,
            "init_args": {"annotations": str(data.resolve() / FILES[name].annotations)},
        }
        for name in names
    }
    return [
        *("--data.source", "OnlyBenchmarks", "--data.root", str(root), "--seed_everything", str(seed)),
        *("--data.benchmarks", json.dumps(tests), "--model.encoder.name", model, "--model.encoder.pretrained", ""),
        *("--trainer.accelerator", "cpu"),
    ]


def count_passes(given: argparse.Namespace, root: Path) -> None:
    named = {str(image) for test in FILES.values() for row in examples(test, given.data) for image in row.images}
    pictures(named, root, (64, 48))
    counted: Counter[str] = Counter()
    for name in ("encode_image", "encode_text"):
        whole = getattr(OpenClipEncoder, name)

        def counting(self: Any, rows: Any, name: str = name, whole: Any = whole) -> Any:
            counted[name] += len(rows)
            return whole(self, rows)

        setattr(OpenClipEncoder, name, counting)
    if main(["test", *flags(list(FILES), given.data, root, given.model, given.seed)]):
        raise SystemExit(1)
    used = {name: len(examples(test, given.data)) for name, test in FILES.items()}
    print(f"rows: {', '.join(f'{name} {rows:,}' for name, rows in used.items())}")
    print(f"encoded: {counted['encode_image']:,} pictures, {counted['encode_text']:,} captions")


@torch.inference_mode()
def loop(encoder: OpenClipEncoder, rows: list[Any], root: Path) -> int:
    """How many rows are right, one by one."""
    model, right = encoder.model, 0
    for row in rows:
        image = resize_and_crop(Image.open(root / "val2017" / str(row.images[0])).convert("RGB"), encoder.preprocess)
        pixels = image[None].float().div(255).sub(encoder.mean).div(encoder.std)
        shown = normalize(model.encode_image(pixels), dim=-1)  # type: ignore[operator]
        *true, false = (
            float(shown @ normalize(model.encode_text(encoder.tokenizer([text])), dim=-1).T)  # type: ignore[operator]
            for text in (*row.true, *row.false)
        )
        right += min(true) > false
    return right


def measure_time(given: argparse.Namespace, root: Path) -> None:
    names = ["sugarcrepe", "sugarcrepe++"]
    data = shortened(given.data, root / "files", given.rows) if given.rows else given.data
    rows = {name: examples(FILES[name], data) for name in names}
    pictures(
        {str(row.images[0]) for found in rows.values() for row in found}, root, (given.width, given.width * 3 // 4)
    )
    arguments = flags(names, data, root, given.model, given.seed)
    encoder = build([], arguments).model.encoder.eval()
    assert isinstance(encoder, OpenClipEncoder)
    loop(encoder, rows["sugarcrepe"][:50], root)  # both ways begin warm

    start = time.perf_counter()
    if main(["test", *arguments, "--name", "ours"]):
        raise SystemExit(1)
    ours = time.perf_counter() - start
    found = json.loads(Path("runs/ours/version_0/test_results.json").read_text())["scores"]
    start = time.perf_counter()
    right = {name: loop(encoder, rows[name], root) for name in names}
    theirs = time.perf_counter() - start

    totals = {name: len(found) for name, found in rows.items()}
    print(f"{given.model}, random weights, one thread; pictures {given.width} x {given.width * 3 // 4}")
    for name, score in (("sugarcrepe", "sugarcrepe/micro"), ("sugarcrepe++", "sugarcrepe++/itt micro")):
        here = round(found[score]["accuracy"] * totals[name])
        print(f"{name}: {totals[name]:,} rows; right: {here:,} here, {right[name]:,} in the loop")
    print(f"test here {ours:.1f} s, loop over rows {theirs:.1f} s: {theirs / ours:.1f} times as long")


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("passes", "time"))
    parser.add_argument("data", type=Path, help="folder of the annotations")
    parser.add_argument("--model", default="photos-tiny", help="an encoder's name")
    parser.add_argument("--rows", type=int, default=0, help="of each annotation file, the first; 0 is all (time)")
    parser.add_argument("--width", type=int, default=640, help="of the pictures, in pixels (time)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    given = parser.parse_args()
    given.data = given.data.resolve()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        {"passes": count_passes, "time": measure_time}[given.what](given, Path(folder))


if __name__ == "__main__":
    run()
