"""One run of scripts/evidence.py: trains, then measures what a fine-tuning may lose; writes measured.json.

    python scripts/evidence_run.py FOLDER RECIPE [FLAG ...]
    python scripts/evidence_run.py FOLDER base            # only the linear probe of the base model

``FOLDER/overlay.yaml`` is laid over ``configs/RECIPE.yaml``.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from lightning_cr.cli import build
from lightning_cr.encoders.base import Encoder
from lightning_cr.scenes import World, render, to_tensor
from lightning_cr.scenes.graph import COLOURS, SHAPES, SIZES, TEXTURES

ROOT = Path(__file__).parents[1]
SCENES = {"train": 1500, "test": 1000}


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

    One logistic regression an attribute (C = 1, on standardised unit vectors), 1,500 scenes to fit and 1,000 to test;
    average precision as scikit-learn defines it, the mean over attributes.
    """
    features, labels = {}, {}
    encoder.eval()
    for part, count in SCENES.items():
        rng = random.Random(f"probe/{part}")
        scenes = [World(held_out="any").draw(rng) for _ in range(count)]
        pictures = torch.stack([to_tensor(render(scene, encoder.preprocess.size)) for scene in scenes])
        with torch.no_grad():
            features[part] = torch.cat([encoder.encode_image(chunk) for chunk in pictures.split(250)]).float().numpy()
        names = [*SHAPES, *COLOURS, *SIZES, *TEXTURES]
        has = [{v for t in scene.things for v in (t.shape, t.colour, t.size, t.texture)} for scene in scenes]
        labels[part] = np.array([[name in found for name in names] for found in has])
    scaler = StandardScaler().fit(features["train"])
    train, test = scaler.transform(features["train"]), scaler.transform(features["test"])
    precisions = []
    for column in range(labels["train"].shape[1]):
        model = LogisticRegression(C=1.0, max_iter=1000).fit(train, labels["train"][:, column])
        precisions.append(average_precision_score(labels["test"][:, column], model.decision_function(test)))
    return float(np.mean(precisions))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
