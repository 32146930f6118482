"""Makes the base model of the embedded world: plain CLIP on scenes, from random weights.

    python scripts/make_base.py

Nine captions in ten only name things ("a red ring and a blue star"), as web captions do, and to tell a picture from the
others of a batch that is enough: the base knows things and their qualities and is at chance on which of two stands left
or above. The recipes' captions do say it. This runs configs/clip.yaml with scripts/base.yaml laid over it and writes
lightning_cr/encoders/weights/scenes-tiny.pt in half precision; further arguments are passed on
(``--trainer.max_steps=10``).
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
