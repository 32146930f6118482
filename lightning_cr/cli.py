"""The command line: a stock LightningCLI with a fixed task and data module.

``fit``, ``validate``, ``test`` and ``predict`` are Lightning's own, ``interpolate`` is a method of our trainer; several
``--config`` are laid over each other; ``negatives``, ``fill``, ``compare``, ``order`` and ``synthesize`` have their own
parsers.
What is added here: losses and text rules laid over entry by entry, one-line errors with a suggestion, a folder of its
own for each run, and a stop where resuming would ignore a changed value.
"""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import lightning as pl
import yaml
from jsonargparse import ActionConfigFile, Namespace  # type: ignore[attr-defined]
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from lightning_cr import compare, fill, look, order, synthesize
from lightning_cr.callbacks import (
    BestCheckpoint,
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
from lightning_cr.errors import CheckpointError, ConfigError, LightningCRError, suggest
from lightning_cr.interpolate import Trainer
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
COMMANDS = {"negatives": look, "fill": fill, "compare": compare, "order": order, "synthesize": synthesize}
"""Commands that neither train nor measure a model."""
LAID_OVER = ("model.losses", "data.negatives.rules")
"""Where a later --config changes, adds and takes out single entries; everywhere else its value is the whole value."""


class Parser(LightningArgumentParser):
    """A parser whose errors are one line with a suggestion, not pages of usage."""

    config_action: type = ActionConfigFile

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)
        self.taken_out: list[tuple[str, str]] = []
        """Entries that the file read last sets to null, by the key that they stand under."""

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Namespace:
        """Parses the text of a configuration; notes what it sets to null, for that is no class."""
        try:
            tree = yaml.safe_load(content)
        except yaml.YAMLError:
            tree = None  # the parser says it better
        self.taken_out = []
        for key in LAID_OVER:
            entries = tree
            for part in key.split("."):
                entries = entries.get(part) if isinstance(entries, dict) else None
            for name in [name for name, value in entries.items() if value is None] if isinstance(entries, dict) else []:
                self.taken_out.append((key, name))
                del entries[name]
        text = yaml.safe_dump(tree, sort_keys=False) if self.taken_out else content
        parsed: Namespace = super().parse_string(text, *args, **kwargs)
        return parsed

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises what was wrong as a :class:`ConfigError`."""
        if not self.exit_on_error:  # a parser inside the parser, whose error the outer one reports
            super().error(message, ex)
        raise ConfigError(explain(message, self, ex)) from ex


class LaidOver(ActionConfigFile):
    """A ``--config`` whose losses and rules are laid over those of the files before it, entry by entry."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Reads a file; the first one replaces what a run without any does."""
        before = {key: cfg.get(key) or {} for key in LAID_OVER} if cfg.get(self.dest) else {}
        super().__call__(parser, cfg, values, option_string)  # type: ignore[no-untyped-call]
        for key, entries in before.items():
            if entries and isinstance(cfg[key], dict):  # anything else the parser refuses
                cfg[key] = {**entries, **cfg[key]}
        for key, name in parser.taken_out:
            if name not in before.get(key, {}):
                raise ConfigError(
                    f"{values} sets {key}.{name} to null, which takes an entry of an earlier --config out, and there is"
                    f" none of that name.{suggest(name, before.get(key, {}))}"
                )
            del cfg[key][name]


Parser.config_action = LaidOver


class CompositionCLI(LightningCLI):
    """Parses, builds and runs; see :func:`main` and :func:`build`.

    Args:
        run: Whether the command line begins with a subcommand that is carried out.
    """

    began_with: str | None = None
    """The weights that the run to go on with began with; its checkpoint takes their place."""

    def __init__(self, run: bool = True) -> None:
        for noise in _NOISE:
            warnings.filterwarnings("ignore", message=noise)
        super().__init__(
            CompositionTask,
            CompositionData,
            run=run,
            trainer_class=Trainer,
            parser_class=Parser,
            save_config_callback=None,  # ours is among the run's callbacks: it also puts the config into checkpoints
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # checkpoints carry model and data, see SaveConfig
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's commands, and ``interpolate``; with the arguments that are not the user's."""
        commands = LightningCLI.subcommands() | {"interpolate": {"model", "datamodule"}}
        for name in ("validate", "test"):
            commands[name] |= {"verbose"}
        return commands

    def validate(self, **given: Any) -> None:
        """Lightning's, without its table of all that was logged: ours is beside it."""
        self.trainer.validate(**given, verbose=False)

    def test(self, **given: Any) -> None:
        """Lightning's, without its table."""
        self.trainer.test(**given, verbose=False)

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser with our ``--config``."""
        parser: LightningArgumentParser = self.parser_class(**kwargs)
        parser.add_argument("-c", "--config", action=LaidOver, help="A YAML file; later ones are laid over earlier.")
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the name of the run and the steps between checkpoints; sets what a run without a configuration does."""
        parser.add_argument(
            "--name", type=str, default="", help="Folder of the run; by default named like the first --config."
        )
        parser.add_argument("--save_every", type=int, default=50, help="Steps between two checkpoints to go on from.")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.set_defaults(DEFAULTS)

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        super()._add_subcommands(parser, **kwargs)
        action = parser._subcommands_action
        if action is not None:  # for --help and suggestions: main carries it out without building the others' parsers
            for name, room in COMMANDS.items():
                action.add_subcommand(name, room.make_parser(Parser), help=room.HELP)

    def _parse_ckpt_path(self) -> None:
        self.subcommand = self.config.get("subcommand")
        if self.subcommand in COMMANDS:
            name = self.subcommand
            raise ConfigError(f"{name} takes no --config before it; run: python -m lightning_cr {name} --help")
        path = self._get(self.config, "ckpt_path")
        if not path:
            return
        if not Path(path).is_file():
            raise CheckpointError(f"--ckpt_path '{path}' is no file; a run's checkpoints lie in RUN/checkpoints")
        saved = saved_config(path)
        encoder = saved["model"]["encoder"]
        self.began_with = encoder["pretrained"]
        if not encoder["name"].startswith(("hf-hub:", "local-dir:")):  # whose definition and weights come together
            # The weights are the checkpoint's, their pixel settings too: the file where the run began may be gone.
            encoder["pretrained"] = str(path)
        if self.subcommand == "fit":
            asked = self._dumped()
            asked["accumulate_grad_batches"] = asked["trainer"]["accumulate_grad_batches"]
            check_resume(path, saved, asked)
            self._get(self.config, "model")["encoder"]["pretrained"] = encoder["pretrained"]
        else:
            # Under what was asked for, then over it: any data can be measured, but the model is the checkpoint's.
            kept = {key: saved[key] for key in ("seed_everything", "data")}
            self.config = self.parser.parse_args(namespace=self.parser.parse_object({self.subcommand: kept}))
            self.config = self.parser.parse_object({self.subcommand: {"model": saved["model"]}}, self.config)

    def _dumped(self) -> dict[str, Any]:
        config = self.config[self.subcommand] if self.subcommand else self.config
        dumped = self._parser(self.subcommand).dump(config, skip_none=False, format="yaml")
        plain: dict[str, Any] = yaml.safe_load(dumped)
        return plain

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Gives the run its own folder, its loggers and the callbacks that every run has."""
        config, save_every = self._get(self.config_init, "trainer"), self._get(self.config, "save_every")
        _check_numbers(save_every, config)
        own: list[pl.Callback] = [Throughput(), *([] if self.subcommand == "interpolate" else [RunReport()])]
        own += [] if config["enable_progress_bar"] is False else [Progress()]
        if not config["fast_dev_run"]:
            check_run_folder(config["default_root_dir"])
            asked = self._dumped()
            asked["name"] = self._get(self.config, "name") or _run_name(self._get(self.config, "config"))
            if self.subcommand == "fit" and self.began_with is not None:
                asked["model"]["encoder"]["pretrained"] = self.began_with
            if config["logger"] in (None, True):
                kwargs["logger"] = _loggers(config["default_root_dir"], asked["name"])
            own = [SaveConfig(asked), *own, SaveEmbeddings()]
            if config["enable_checkpointing"] is not False:
                headlines = any(benchmark.headline for benchmark in self.datamodule.benchmarks.values())
                measured = headlines and config["limit_val_batches"] in (None, 1.0)
                own += [LastCheckpoint(save_every)] + (
                    [BestCheckpoint(asked["data"]["benchmarks"])] if measured else []
                )
                own += [GracefulStop()]
                kwargs["plugins"] = [*_listed(config["plugins"]), RescueCheckpointIO()]
        kwargs["callbacks"] = [*_listed(config["callbacks"]), *own]
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
            given = ", ".join(f"{name} {config[name]}" for name in ("accelerator", "devices", "strategy"))
            raise ConfigError(f"the trainer cannot be built: {error} (--trainer has {given})") from error


def _check_numbers(save_every: int, trainer: Namespace) -> None:
    """Refuses numbers with which Lightning or a loader would break in the middle."""
    steps = {"save_every": save_every, "trainer.accumulate_grad_batches": trainer["accumulate_grad_batches"]}
    for name, value in steps.items():
        if value < 1:
            raise ConfigError(f"--{name} is {value}; it must be 1 or more")
    if trainer["overfit_batches"]:
        raise ConfigError(
            f"--trainer.overfit_batches is {trainer['overfit_batches']}, but it would put another order of samples in"
            " place of ours; use --data.source.size N (embedded world) or --trainer.limit_train_batches N"
        )


def _listed(value: Any) -> list[Any]:
    """What the trainer takes as one thing, a list or nothing."""
    return [] if value is None else [*value] if isinstance(value, (list, tuple)) else [value]


def _run_name(configs: list[Any] | None) -> str:
    return Path(str(configs[0])).stem if configs else "run"


def _loggers(root: str, name: str) -> list[Logger]:
    """CSV and TensorBoard in one folder, ``ROOT/NAME/version_K``, that no earlier run has used."""
    table = CSVLogger(root, name=name)
    return [table, TensorBoardLogger(root, name=name, version=table.version)]


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
    given = list(sys.argv[1:] if arguments is None else arguments)
    with _arguments(given):
        try:
            if given and given[0] in COMMANDS:
                room = COMMANDS[given[0]]
                parser = room.make_parser(Parser)
                room.run(parser.instantiate_classes(parser.parse_args(given[1:])))
            else:
                CompositionCLI()
        except (LightningCRError, MisconfigurationException) as error:  # Lightning's word for a user's mistake
            return _told(error)
        except ValueError as error:
            if "`val_check_interval`" not in str(error):  # only the loader's length tells Lightning that it is too long
                raise
            return _told(error)
        except Interrupted as stop:
            print(stop, file=sys.stderr)
            return stop.status
        except (KeyboardInterrupt, SystemExit) as stop:
            # Lightning ends validate, test and predict with a SystemExit(1) of its own.
            if isinstance(stop, KeyboardInterrupt) or isinstance(stop.__context__, KeyboardInterrupt):
                print("stopped by Ctrl-C", file=sys.stderr)
                return 128 + signal.SIGINT
            return stop.code if isinstance(stop.code, int) else 0  # --help's
    return 0


_NOISE = (
    ".*does not have many workers.*",  # num_workers is the user's choice, and 0 is right for the embedded world
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*The number of training batches .* is smaller than the logging interval.*",
    ".*module.s. in eval mode at the start of training.*",  # a frozen tower
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",  # inside Lightning 2.6
    ".*The dirpath has changed from.*",  # a resumed run has a folder of its own
    ".*Be aware that when using `ckpt_path`.*",
    ".*Using `DistributedSampler` with the dataloaders.*",  # a chunk that two ranks encode is scored once
    r".*use `self\.log\('(bench/|headline).*",  # every rank has the scores of all
    ".*Total length of `list` across ranks is zero.*",  # no benchmarks, which the report says
    r"(?s).*was deprecated in v4\.49\.0.*",  # LightningCLI 2.6 calls what jsonargparse 5 will drop
    r"(?s).*only one JsonargparseDeprecationWarning.*",
)


def _told(error: Exception) -> int:
    """Says it in one line; of an error in a loader's worker, which arrives with its traceback, the last line."""
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1].partition(": ")[2]
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return 1


@contextmanager
def _arguments(arguments: Sequence[str]) -> Iterator[None]:
    """Lets LightningCLI read these arguments; it warns of arguments handed in beside ``sys.argv``."""
    saved, sys.argv = sys.argv, ["python -m lightning_cr", *arguments]
    try:
        yield
    finally:
        sys.argv = saved
