"""One run of scripts/evidence.py: trains, then measures what a fine-tuning may lose; writes measured.json.

    python scripts/evidence_run.py FOLDER RECIPE [FLAG ...]
    python scripts/evidence_run.py FOLDER base            # only the linear probe of the base model

``FOLDER/overlay.yaml`` is laid over ``configs/RECIPE.yaml``.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from lightning_cr.benchmarks import LabelledScenes, LinearProbe, evaluate
from lightning_cr.benchmarks.base import NO_INTERVALS
from lightning_cr.cli import build
from lightning_cr.encoders.base import Encoder

ROOT = Path(__file__).parents[1]


def main(folder: Path, recipe: str, flags: list[str]) -> None:
    start = time.perf_counter()
    if recipe == "base":
        encoder = build([ROOT / "configs" / "clip.yaml"]).model.encoder
        (folder / "measured.json").write_text(json.dumps({"scores": {"linear probe": probe(encoder)}}))
        return
    configs = [ROOT / "configs" / f"{recipe}.yaml", folder / "overlay.yaml"]
    run = build(configs, ["--name=run", f"--trainer.default_root_dir={folder}", *flags])
    run.trainer.fit(run.model, run.datamodule)
    results = json.loads(next(folder.rglob("results.json")).read_text())
    scores = {name: score["accuracy"] for name, score in results["after"].items()}
    scores["linear probe"] = probe(run.model.encoder)
    measured = {
        "scores": scores,
        "before": {name: score["accuracy"] for name, score in results["before"].items()},
        "samples_per_second": results["samples_per_second"],
        "seconds": round(time.perf_counter() - start, 1),
        "versions": results["versions"],
    }
    (folder / "measured.json").write_text(json.dumps(measured, indent=1))
    for checkpoints in folder.rglob("checkpoints"):
        shutil.rmtree(checkpoints)


def probe(encoder: Encoder) -> float:
    """Mean average precision of a linear probe on frozen picture vectors: which shapes, colours, sizes and textures.

    One logistic regression an attribute (C = 1, on standardised unit vectors), 1,500 scenes to fit and 1,000 to test.
    """
    encoder.eval()
    benchmarks = {"probe": LinearProbe(LabelledScenes(train=1500, test=1000), strengths=[1.0])}
    found = evaluate(encoder.encode_image, encoder.encode_text, benchmarks, encoder.preprocess, scoring=NO_INTERVALS)
    return found["probe"].scores["probe/mAP"].value


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
