"""Makes the base model of the embedded world: plain CLIP on scenes, from random weights.

    python scripts/make_base.py

Against the other captions of a batch it is enough to name things and their qualities, so that is what plain CLIP
learns: the base is at chance on which of two things stands left or above. It runs configs/clip.yaml with
scripts/base.yaml laid over it and writes lightning_cr/encoders/weights/scenes-tiny.pt in half precision; further
arguments are passed on (``--trainer.max_steps=10``).
"""

import sys
from pathlib import Path

import torch

from lightning_cr.cli import build
from lightning_cr.encoders import save_weights

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "lightning_cr" / "encoders" / "weights" / "scenes-tiny.pt"


def main() -> None:
    run = build([ROOT / "configs" / "clip.yaml", ROOT / "scripts" / "base.yaml"], ["--name=base", *sys.argv[1:]])
    run.trainer.fit(run.model, run.datamodule)
    save_weights(run.model.encoder, TARGET, dtype=torch.float16)
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
