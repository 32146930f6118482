"""The command line: a stock LightningCLI with a fixed task and data module.

``fit``, ``validate``, ``test`` and ``predict`` are Lightning's own; several ``--config`` are laid over each other.
What is added here: one-line errors with a suggestion, a folder of its own for each run, and a stop where resuming would
ignore a changed value.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import lightning as pl
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from lightning_cr.callbacks import (
    GracefulStop,
    Interrupted,
    LastCheckpoint,
    Progress,
    RescueCheckpointIO,
    RunReport,
    SaveConfig,
    SaveEmbeddings,
    Throughput,
    check_run_folder,
)
from lightning_cr.data.datamodule import CompositionData
from lightning_cr.errors import CheckpointError, ConfigError, LightningCRError
from lightning_cr.messages import explain
from lightning_cr.resume import check_resume, saved_config
from lightning_cr.task import CompositionTask

__all__ = ["CompositionCLI", "build", "main"]

DEFAULTS: dict[str, Any] = {
    "model.losses": {"contrastive": {"class_path": "lightning_cr.losses.ContrastiveLoss"}},
    "data.source": {"class_path": "lightning_cr.data.Scenes"},
    "data.benchmarks": {"scenes": {"class_path": "lightning_cr.benchmarks.ScenesBenchmark"}},
    "trainer.default_root_dir": "runs",
    "trainer.max_epochs": 1,
    "trainer.num_sanity_val_steps": -1,  # the whole validation before the first step: the table's "before"
    "trainer.log_every_n_steps": 10,
    "trainer.enable_model_summary": False,
}


class Parser(LightningArgumentParser):
    """A parser whose errors are one line with a suggestion, not pages of usage."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises what was wrong as a :class:`ConfigError`."""
        if not self.exit_on_error:  # a parser inside the parser, whose error the outer one reports
            super().error(message, ex)
        raise ConfigError(explain(message, self)) from ex


class CompositionCLI(LightningCLI):
    """Parses, builds and runs; see :func:`main` and :func:`build`.

    Args:
        run: Whether the command line begins with a subcommand that is carried out.
    """

    def __init__(self, run: bool = True) -> None:
        for noise in _NOISE:
            warnings.filterwarnings("ignore", message=noise)
        super().__init__(
            CompositionTask,
            CompositionData,
            run=run,
            parser_class=Parser,
            save_config_callback=None,  # ours is among the run's callbacks: it also puts the config into checkpoints
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # checkpoints carry the whole configuration, see SaveConfig
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the name of the run and the steps between checkpoints; sets what a run without a configuration does."""
        parser.add_argument(
            "--name", type=str, default="", help="Folder of the run; by default named like the first --config."
        )
        parser.add_argument("--save_every", type=int, default=50, help="Steps between two checkpoints to go on from.")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.set_defaults(DEFAULTS)

    def _parse_ckpt_path(self) -> None:
        self.subcommand = self.config.get("subcommand")
        path = self._get(self.config, "ckpt_path")
        if not path:
            return
        if not Path(path).is_file():
            raise CheckpointError(f"--ckpt_path '{path}' is no file; a run's checkpoints lie in RUN/checkpoints")
        saved = saved_config(path)
        if self.subcommand == "fit":
            asked = self._dumped()
            asked["accumulate_grad_batches"] = asked["trainer"]["accumulate_grad_batches"]
            check_resume(path, saved, asked)
        else:
            # The model is the checkpoint's, its weights and pixel settings too, so none are fetched.
            saved["model"]["encoder"]["pretrained"] = str(path)
            self.config = self.parser.parse_object({self.subcommand: {"model": saved["model"]}}, self.config)

    def _dumped(self) -> dict[str, Any]:
        config = self.config[self.subcommand] if self.subcommand else self.config
        dumped = self._parser(self.subcommand).dump(config, skip_none=False, format="yaml")
        plain: dict[str, Any] = yaml.safe_load(dumped)
        return plain

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Gives the run its own folder, its loggers and the callbacks that every run has."""
        config = self._get(self.config_init, "trainer")
        if self._get(self.config, "save_every") < 1:
            raise ConfigError(f"--save_every is {self._get(self.config, 'save_every')}; it must be 1 step or more")
        if config["fast_dev_run"]:
            return super().instantiate_trainer(**kwargs)
        check_run_folder(config["default_root_dir"])
        name = self._get(self.config, "name") or _run_name(self._get(self.config, "config"))
        if config["logger"] in (None, True):
            kwargs["logger"] = _loggers(config["default_root_dir"], name)
        headlines = any(benchmark.headline for benchmark in self.datamodule.benchmarks.values())
        measured = headlines and config["limit_val_batches"] in (None, 1.0)
        own: list[pl.Callback] = [SaveConfig(self._dumped() | {"name": name}), Throughput(), RunReport()]
        own += [SaveEmbeddings()] + ([] if config["enable_progress_bar"] is False else [Progress()])
        if config["enable_checkpointing"] is not False:
            own += [*checkpoints(self._get(self.config, "save_every"), best=measured), GracefulStop()]
            kwargs["plugins"] = [*_listed(config["plugins"]), RescueCheckpointIO()]
        kwargs["callbacks"] = [*_listed(config["callbacks"]), *own]
        return super().instantiate_trainer(**kwargs)


def _listed(value: Any) -> list[Any]:
    """What the trainer takes as one thing, a list or nothing."""
    return [] if value is None else [*value] if isinstance(value, (list, tuple)) else [value]


def _run_name(configs: list[Any] | None) -> str:
    return Path(str(configs[0])).stem if configs else "run"


def _loggers(root: str, name: str) -> list[Logger]:
    """CSV and TensorBoard in one folder, ``ROOT/NAME/version_K``, that no earlier run has used."""
    table = CSVLogger(root, name=name)
    return [table, TensorBoardLogger(root, name=name, version=table.version)]


def checkpoints(save_every: int, best: bool) -> list[pl.Callback]:
    """``last.ckpt`` every so many steps, and ``best.ckpt`` by the mean of the benchmarks' headline scores."""
    last = LastCheckpoint(save_every)
    if not best:
        return [last]
    return [last, ModelCheckpoint(filename="best", monitor="headline", mode="max", enable_version_counter=False)]


def build(configs: Sequence[str | Path] = (), overrides: Sequence[str] = ()) -> CompositionCLI:
    """Builds trainer, task and data module from configuration files, for notebooks and scripts.

    Args:
        configs: Files, laid over each other in order.
        overrides: Flags as on the command line, ``"--data.batch_size=64"``.

    Returns:
        An object with ``trainer``, ``model`` and ``datamodule``: ``run.trainer.fit(run.model, run.datamodule)``.

    Raises:
        ConfigError: A name or value that is not known.
    """
    arguments = [part for config in configs for part in ("--config", str(config))]
    with _arguments([*arguments, *overrides]):
        return CompositionCLI(run=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line.

    Args:
        arguments: What follows the program's name; ``sys.argv`` where None.

    Returns:
        0 if all went well, 1 for a user's mistake (told in one line), 130 for Ctrl-C.
    """
    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    with _arguments(sys.argv[1:] if arguments is None else arguments):
        try:
            CompositionCLI()
        except LightningCRError as error:
            print(f"error: {_one_line(error)}", file=sys.stderr)
            return 1
        except MisconfigurationException as error:  # Lightning's word for a user's mistake
            print(f"error: {_one_line(error)}", file=sys.stderr)
            return 1
        except Interrupted as stop:
            print(stop, file=sys.stderr)
            return stop.status
        except SystemExit as stop:  # --help's
            return stop.code if isinstance(stop.code, int) else 0
    return 0


_NOISE = (
    ".*does not have many workers.*",  # num_workers is the user's choice, and 0 is right for the embedded world
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",  # inside Lightning 2.6
    ".*The dirpath has changed from.*",  # a resumed run has a folder of its own
    ".*Be aware that when using `ckpt_path`.*",
    r"(?s).*was deprecated in v4\.49\.0.*",  # LightningCLI 2.6 calls what jsonargparse 5 will drop
    r"(?s).*only one JsonargparseDeprecationWarning.*",
)


def _one_line(error: Exception) -> str:
    """The message; of an error in a loader's worker, which arrives with its traceback, the last line."""
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1].partition(": ")[2]
    return " ".join(text.split())


@contextmanager
def _arguments(arguments: Sequence[str]) -> Iterator[None]:
    """Lets LightningCLI read these arguments; it warns of arguments handed in beside ``sys.argv``."""
    saved, sys.argv = sys.argv, ["python -m lightning_cr", *arguments]
    try:
        yield
    finally:
        sys.argv = saved
