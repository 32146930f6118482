"""The command ``synthesize``: Lightning's ``predict`` with a pipeline in place of a model to train."""

from __future__ import annotations

import os
import warnings
from typing import Any, TypeVar

import lightning as pl
import pyarrow.compute as compute
from jsonargparse import ActionConfigFile, Namespace  # type: ignore[attr-defined]
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.cli import LightningArgumentParser

from lightning_cr.errors import ConfigError
from lightning_cr.negatives.image.store import PictureStore
from lightning_cr.synthesize.data import SynthesisData
from lightning_cr.synthesize.model import Synthesis
from lightning_cr.synthesize.progress import SynthesisProgress
from lightning_cr.synthesize.report import counts, print_report, write_report
from lightning_cr.synthesize.sheet import sheet_rows, write_sheet

__all__ = ["HELP", "finish", "make_parser", "run"]

HELP = "Make a picture of each wrong caption with a diffusers pipeline, once, to train on."
_Parser = TypeVar("_Parser", bound=LightningArgumentParser)
_DEFAULTS: dict[str, Any] = {
    "data.source": {"class_path": "lightning_cr.data.CocoFolder", "init_args": {"sample_by": "caption"}},
    "trainer.logger": False,
    "trainer.enable_checkpointing": False,
    "trainer.enable_model_summary": False,
}


def make_parser(kind: type[_Parser]) -> _Parser:
    """The command's options: Lightning's trainer, our module and our data.

    Args:
        kind: Class of the parser, which decides how errors are told and how a ``--config`` is laid over others.
    """
    parser = kind(prog="python -m lightning_cr synthesize", description=HELP)
    action = getattr(kind, "config_action", ActionConfigFile)
    parser.add_argument("-c", "--config", action=action, help="A YAML file; later ones are laid over earlier.")
    parser.add_lightning_class_args(pl.Trainer, "trainer")
    parser.add_lightning_class_args(Synthesis, "model")
    parser.add_lightning_class_args(SynthesisData, "data")
    parser.set_defaults(_DEFAULTS)
    return parser


def run(options: Namespace) -> None:
    """Carries the command out.

    Args:
        options: As :func:`make_parser` reads them, with model and data built.

    Raises:
        ConfigError: A name or value that cannot be used.
        DataError: A pipeline, captions or a store that cannot be read, or a full disk.
    """
    trainer = _trainer(dict(options["trainer"]))
    with warnings.catch_warnings():
        for noise in _NOISE:
            warnings.filterwarnings("ignore", message=noise)
        trainer.predict(options["model"], datamodule=options["data"], return_predictions=False)
    finish(trainer, options["model"], options["data"])


def _trainer(config: dict[str, Any]) -> pl.Trainer:
    given = config["callbacks"] or []
    own = [] if config["enable_progress_bar"] is False else [SynthesisProgress()]
    if config["limit_predict_batches"] == 0:
        raise ConfigError(
            "--trainer.limit_predict_batches is 0: no picture would be made; use 1 or more, or leave it out"
        )
    try:
        trainer = pl.Trainer(**config | {"callbacks": [*(given if isinstance(given, list) else [given]), *own]})
    except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        shown = ", ".join(f"{name} {config[name]}" for name in ("accelerator", "devices", "strategy"))
        raise ConfigError(f"the trainer cannot be built: {error} (--trainer has {shown})") from error
    cores = os.cpu_count() or 1
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > cores:
        raise ConfigError(
            f"--trainer.devices is {trainer.num_devices} on the accelerator cpu, a process each, and this machine has"
            f" {cores} cores; use --trainer.devices {cores} or fewer"
        )
    return trainer


def finish(trainer: pl.Trainer, model: Synthesis, data: SynthesisData) -> None:
    """Waits for all processes; then one of them joins the manifests, counts, and draws the contact sheet.

    Args:
        trainer: After ``predict``.
        model: What it ran.
        data: Likewise.

    Raises:
        DataError: The store cannot be read or written.
    """
    trainer.strategy.barrier("pictures")
    if not trainer.is_global_zero:
        return
    data.store.merge()
    store = PictureStore(data.folder)  # with what the other processes wrote
    found = counts(store.rows, model.filter)
    there = compute.is_in(data.planned["key"], store.rows["key"])
    not_made = len(data.planned) - (compute.sum(there).as_py() or 0)
    about = {
        "wrong_captions": len(data.planned),
        "made_before": len(data.planned) - data.missing,
        "not_made": not_made,
        "without_box": data.unboxed,
        "prompts_too_long": model.too_long,
    }
    write_report(store, found, {**model.recipe, "digest": model.recipe_digest}, about)
    print_report(found)
    if not_made:
        print(
            f"not made: {not_made:,}, as the run was cut short or an original cannot be read; the same line makes them"
        )
    written = ["report.json"]
    if model.sheet and (rows := sheet_rows(store, data.planned["key"], data.split, model.sheet)):
        write_sheet(store.folder, rows)
        written += ["sheet.html", "sheet.png"]
    print(f"in {store.folder}: {', '.join(written)}")


_NOISE = (
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",  # inside Lightning 2.6
    ".*does not have many workers.*",  # a pipeline takes longer than reading
    ".*Total length of .DataLoader. across ranks is zero.*",  # all is made
    ".*invalid value encountered in cast.*",  # fp16 that overflows: black pictures, which are counted
)
