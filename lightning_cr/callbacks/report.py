"""What a run leaves: a table before -> after, ``results.json``, ``curves.png`` and ``samples.png``."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lightning as pl
from lightning.pytorch.callbacks import Callback

from lightning_cr import __version__
from lightning_cr.benchmarks.records import EXAMPLES, record, write_examples
from lightning_cr.callbacks.curves import LossCurve, draw_curves
from lightning_cr.callbacks.files import check_run_folder, run_folder
from lightning_cr.callbacks.measured import latex, markdown, print_measured
from lightning_cr.callbacks.samples import draw_samples, score_examples
from lightning_cr.callbacks.table import Scores, as_scores, print_scores
from lightning_cr.encoders import fingerprint
from lightning_cr.errors import DataError
from lightning_cr.files import reason, whole_file

__all__ = ["RunReport"]


class RunReport(Callback):
    """Keeps scores and losses of a run, and writes them up at its end.

    *Before* is Lightning's check ahead of the first step if it covers the whole validation set
    (``trainer.num_sanity_val_steps: -1``); *after* is the last validation, and the last step always has one. Scores are
    read from ``pl_module.scores``. All of it survives a resume. ``results.json``::

        {"before": {category: {"accuracy": 0.51, "n": 500, "ties": 0}, ...}, "after": {...},
         "history": [{"step": 100, "scores": {...}}, ...], "steps": ..., "seconds": ..., "samples_per_second": ...,
         "seed": ..., "encoder": ..., "versions": {...}, "skipped": [...]}

    ``seconds`` counts training and validation, ``samples_per_second`` training alone. ``validate`` and ``test`` print
    one column and write ``validate_results.json`` and ``test_results.json`` with ``scores``.

    Args:
        examples: Held-out images in ``samples.png``; 0 leaves the picture out.
    """

    def __init__(self, examples: int = 6) -> None:
        self.examples = examples
        self.before: Scores | None = None
        self.history: dict[int, Scores] = {}
        self.curve = LossCurve()
        self._seconds = {"training": 0.0, "validation": 0.0}
        self._samples = 0
        self._mark: float | None = None
        self._folder: Path | None = None
        self._limit: float = -1
        self._told = False

    # ---- state ---------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Scores, losses and times so far."""
        if self._mark is not None:
            self._count("training")
        return {
            "before": self.before,
            "history": dict(self.history),
            "curve": self.curve.state_dict(),
            "seconds": dict(self._seconds),
            "samples": self._samples,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.before = state_dict["before"]
        self.history = dict(state_dict["history"])
        self.curve.load_state_dict(state_dict["curve"])
        self._seconds = dict(state_dict["seconds"])
        self._samples = state_dict["samples"]

    # ---- while it runs -------------------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Makes sure that the run's folder can be written."""
        self._folder = run_folder(trainer)
        check_run_folder(self._folder)
        self._told = False

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Says why a test has no scores where Lightning had nothing to run."""
        if stage in ("test", "validate") and not self._told and trainer.is_global_zero:
            print(_why_no_scores(trainer))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._mark = time.perf_counter()
        self._limit = trainer.estimated_stepping_batches

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes the losses; asks for a validation after the last step."""
        self._samples += len(batch) * trainer.world_size
        metrics = trainer.callback_metrics
        names = ("loss", *(f"train/{name}" for name in dict(getattr(pl_module, "losses", {}))))
        self.curve.add(trainer.global_step, {name: metrics[name] for name in names if name in metrics})
        if 0 <= self._limit <= trainer.global_step:
            # Where max_steps cuts an epoch short Lightning does not validate; after a stop on request it does.
            trainer.should_stop = True

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops the clock of training."""
        if self._mark is not None:
            self._count("training")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the scores."""
        scores = as_scores(getattr(pl_module, "scores", {}))
        if trainer.state.fn == "validate":
            self._report_stage(trainer, pl_module, "validate", scores)
        elif trainer.sanity_checking:
            # A check of a few batches scores what it did not encode: that is no "before".
            if self.before is None and list(trainer.num_sanity_val_batches) == list(trainer.num_val_batches):
                self.before = scores
        else:
            self.history[trainer.global_step] = scores
            if self._mark is not None:
                self._count("validation")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints and writes the scores of a test, and every example."""
        measured, datamodule = getattr(pl_module, "measured", {}), getattr(trainer, "datamodule", None)
        self._told = True
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if not measured or datamodule is None:
            print(_why_no_scores(trainer))
            return
        benchmarks, scoring = datamodule.benchmarks, datamodule.scoring
        print_measured(benchmarks, measured)
        _print_encoded(trainer, pl_module)
        if self._folder is None:
            return
        results = {
            "scores": as_scores(getattr(pl_module, "scores", {})),
            "benchmarks": record(benchmarks, measured, scoring),
            "model": _described(pl_module),
            "precision": str(trainer.precision),
            "scoring": asdict(scoring),
            "captions cut to the context": getattr(pl_module, "cut_captions", 0),
            "from the embedding cache": getattr(pl_module, "from_cache", {}),
            "skipped": list(datamodule.skipped),
            "versions": _versions(),
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_examples(self._folder / EXAMPLES, benchmarks, measured, scoring)
            for name, text in (
                ("test_results.md", markdown(benchmarks, measured)),
                ("test_results.tex", latex(benchmarks, measured)),
            ):
                (self._folder / name).write_text(text)
            _write_json(self._folder / "test_results.json", results)
        except OSError as error:
            raise DataError(f"could not write the results into {self._folder} ({reason(error)})") from error
        print(f"in {self._folder}: test_results.json, .md and .tex, {EXAMPLES}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops the clock."""
        self._count("training")
        self._mark = None

    def _count(self, what: str) -> None:
        now = time.perf_counter()
        self._seconds[what] += now - (self._mark or now)
        self._mark = now

    # ---- at the end ----------------------------------------------------------------------------------------------

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the table and writes the files; everything is saved by now."""
        if not trainer.is_global_zero:
            return
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            print("fast_dev_run: one batch was tried; there is nothing to report")
            return
        self._print(trainer)
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write_json(self._folder / "results.json", self._results(trainer, pl_module))
            title = f"{_encoder(pl_module)}, {trainer.global_step} steps"
            draw_curves(self._folder / "curves.png", self.curve, self._timeline(), title)
            drawn = self._draw_samples(trainer, pl_module, self._folder / "samples.png")
        except OSError as error:
            raise DataError(
                f"could not write the report into {self._folder} ({reason(error)}); the checkpoints are untouched:"
                " free space, and fit --ckpt_path LAST_CHECKPOINT writes it again"
            ) from error
        print(f"in {self._folder}: results.json, curves.png{', samples.png' if drawn else ''}")

    def _print(self, trainer: pl.Trainer) -> None:
        if not any(self.history.values()):
            print("no validation was run, so there are no scores to show; name benchmarks in data.benchmarks")
            return
        step, after = list(self.history.items())[-1]
        before = f"before and after {step} steps" if self.before is not None else f"after {step} steps"
        print_scores(after, self.before, f"Accuracy {before}")
        if self.before is None:
            print("without a column 'before': it needs trainer.num_sanity_val_steps -1")

    def _timeline(self) -> list[tuple[int, Scores]]:
        start = [(0, self.before)] if self.before is not None and 0 not in self.history else []
        return start + list(self.history.items())

    def _results(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        datamodule = getattr(trainer, "datamodule", None)
        seed = os.environ.get("PL_GLOBAL_SEED")
        training = self._seconds["training"]
        return {
            "before": self.before or {},
            "after": list(self.history.values())[-1] if self.history else {},
            "history": [{"step": step, "scores": scores} for step, scores in self.history.items()],
            "steps": trainer.global_step,
            "seconds": round(sum(self._seconds.values()), 2),
            "samples_per_second": round(self._samples / training, 2) if training else None,
            "seed": int(seed) if seed else getattr(datamodule, "seed", None),
            "encoder": _encoder(pl_module),
            "versions": _versions(),
            "skipped": list(getattr(datamodule, "skipped", [])),
        }

    def _draw_samples(self, trainer: pl.Trainer, pl_module: pl.LightningModule, path: Path) -> bool:
        datamodule: Any = getattr(trainer, "datamodule", None)
        if not self.examples or not hasattr(datamodule, "examples") or not len(datamodule.held_out):
            return False
        batch, _ = datamodule.examples(self.examples)
        draw_samples(path, score_examples(pl_module.encoder, batch, pl_module.device))
        return True

    def _report_stage(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str, scores: Scores) -> None:
        self._told = True
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if not scores:
            print(_why_no_scores(trainer))
            return
        print_scores(scores, title="Accuracy")
        _print_encoded(trainer, pl_module)
        if self._folder is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                _write_json(self._folder / f"{stage}_results.json", {"scores": scores, "versions": _versions()})
            except OSError as error:
                raise DataError(
                    f"could not write {stage}_results.json into {self._folder} ({reason(error)})"
                ) from error
            print(f"in {self._folder}: {stage}_results.json")


def _why_no_scores(trainer: pl.Trainer) -> str:
    """A limit that cut it short, or that there is nothing to score."""
    flag = "limit_test_batches" if trainer.state.fn == "test" else "limit_val_batches"
    limit, data = getattr(trainer, flag), getattr(trainer, "datamodule", None)
    if not getattr(data, "benchmarks", None) or limit in (None, 1.0):
        return "there are no scores to show; name benchmarks in data.benchmarks"
    batches = trainer.num_test_batches if trainer.state.fn == "test" else trainer.num_val_batches
    return (
        f"there are no scores to show: --trainer.{flag} {limit} let {sum(batches):g} batches of pictures and captions"
        " through, and scores need all; leave it out"
    )


def _print_encoded(trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
    """Says which captions were cut, and what did not need to be encoded."""
    data: Any = getattr(trainer, "datamodule", None)
    if cut := getattr(pl_module, "cut_captions", 0):
        print(f"{cut:,} captions are longer than the text tower's context: their ends were cut off")
    if getattr(data, "cache", None) is not None:
        found: Any = pl_module.from_cache
        pictures, captions = len(data.suite.pictures), len(data.suite.captions)
        print(
            f"from the embedding cache: {found['image']:,} of {pictures:,} pictures, {found['text']:,} of {captions:,}"
            f" captions, in {data.cache.folder}"
        )


def _described(pl_module: pl.LightningModule) -> dict[str, Any]:
    """What the model is: its configuration, the digest of its weights, activation and pixels."""
    encoder: Any = getattr(pl_module, "encoder", None)
    if encoder is None:
        return {}
    return {
        **asdict(encoder.config),
        "weights": fingerprint(encoder),
        "activation": encoder.activation,
        "dim": encoder.dim,
        "preprocess": asdict(encoder.preprocess),
    }


def _encoder(pl_module: pl.LightningModule) -> str:
    return str(getattr(getattr(pl_module, "encoder_config", None), "name", ""))


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"lightning_cr": __version__}
    for name, package in (("torch", "torch"), ("lightning", "lightning"), ("open_clip", "open_clip_torch")):
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = None
    return found | {"python": platform.python_version()}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with whole_file(path) as file:
        file.write(f"{text}\n".encode())
