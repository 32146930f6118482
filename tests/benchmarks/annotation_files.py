"""Small annotation files and hand-made similarities, for tests of readers."""

import json
import os
from pathlib import Path

import pytest
import torch

from lightning_cr.benchmarks.base import Similarity
from lightning_cr.benchmarks.sugarcrepe import SEVEN
from lightning_cr.encoders.base import Preprocess

DATA = Path(os.environ.get("LIGHTNING_CR_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
REAL = pytest.mark.skipif(
    not (DATA / "sugarcrepe").is_dir(), reason=f"no annotations in {DATA}; set LIGHTNING_CR_TEST_DATA"
)
PREPROCESS = Preprocess(32, (0.5,) * 3, (0.5,) * 3)


class Table(Similarity):
    """Hand-made similarities, by picture and caption, and by caption and caption."""

    def __init__(self, values, texts=None):
        self.values, self.texts = torch.as_tensor(values), texts

    def between(self, pictures, captions):
        return self.values[pictures, captions]

    def among_captions(self, one, other):
        return torch.as_tensor(self.texts)[one, other]


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return str(path)


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def opened(benchmark, root):
    benchmark.open(root, PREPROCESS, held_out=None)
    return benchmark


def small_tree(tmp_path):
    """SugarCrepe of one row a part, on pictures 1 to 7 of COCO."""
    row = {"caption": "c", "negative_caption": "n"}
    for number, part in enumerate(SEVEN, 1):
        write(tmp_path / f"sugarcrepe/{part}.json", {"0": row | {"filename": f"{number:012d}.jpg"}})
        touch(tmp_path / f"val2017/{number:012d}.jpg")
    return tmp_path
