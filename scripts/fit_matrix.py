"""Trains every recipe in every setting at logit scale 100, and looks for a number that is not finite at every step.

    python scripts/fit_matrix.py                       # 56 runs, about 15 minutes of one core
    python scripts/fit_matrix.py --recipes ahnpl --data scenes --steps 20 --short 5 --out runs/trial
    python scripts/fit_matrix.py --whole               # precisions x accumulation x processes in full: 112 runs

Looked at are the loss and everything that is logged after each batch, each gradient before each step of the optimiser,
and each weight and buffer after it. The logit scale is put to 100 before each batch: its limit, and CLIP's own.

The embedded world is trained from its base model; the photographs (``configs/coco.yaml`` and
``configs/small_towers.yaml``) with random towers of one layer and 32 pixels, so that a run takes seconds. One process
makes all runs that need one, two make those that need two (DDP over gloo). ``OUT/runs.json`` keeps each result as soon
as it is there: a script that was stopped goes on, and what changes a run's recipe or flags makes it run again. The exit
status is 1 where anything was not finite or a run broke.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import os
import socket
import subprocess
import sys
import time
import warnings
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import lightning as pl
import open_clip
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_cr.callbacks import RunReport
from lightning_cr.cli import build

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
RECIPES = ("clip", "negclip", "ceclip", "ahnpl", "slipform", "as_released/ceclip", "as_released/ahnpl")
PHOTOS = Path(os.environ.get("LIGHTNING_CR_TEST_DATA", ROOT.parent / "shared" / "data")) / "photos"
BATCH = 8
"""Pairs of one step in all processes, before accumulation."""
SHOWN = 10
"""Batches at either end of a run over which its loss is averaged for the table."""


@dataclass(frozen=True)
class Run:
    """One cell of the matrix."""

    recipe: str
    data: str
    precision: str
    accumulate: int
    processes: int
    steps: int
    flags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """In the file of results."""
        return "/".join(str(value) for value in astuple(self)[:5])

    @property
    def configs(self) -> list[Path]:
        """Laid over each other."""
        names = [self.recipe, *(["coco", "small_towers"] if self.data == "photos" else [])]
        return [CONFIGS / f"{name}.yaml" for name in names]

    @property
    def key(self) -> str:
        """Changes with all that was asked for."""
        return hashlib.sha256(repr((self, BATCH, [path.read_text() for path in self.configs])).encode()).hexdigest()[
            :16
        ]


def plan(given: argparse.Namespace) -> list[Run]:
    """The runs; without ``--whole`` accumulation and two processes are tried apart, in bf16 and with fewer steps."""
    found = []
    for recipe, data in itertools.product(given.recipes, given.data):
        for accumulate, processes, precision in itertools.product((1, 4), (1, 2), ("32-true", "bf16-mixed")):
            plain = accumulate == processes == 1
            if plain or given.whole or (precision == "bf16-mixed" and 1 in (accumulate, processes)):
                steps = given.steps if plain or given.whole else min(given.steps, given.short)
                found.append(Run(recipe, data, precision, accumulate, processes, steps, tuple(given.flags)))
    return sorted(found, key=lambda run: run.accumulate * run.processes)  # the long and plain ones first


class Results:
    """What was found, by the name of the run, in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, run: Run) -> dict[str, Any] | None:
        """The result of a run; None where it is still to be made."""
        found = self.runs.get(run.name)
        return found if found is not None and found["key"] == run.key else None

    def put(self, run: Run, found: dict[str, Any]) -> None:
        """Adds a result to the file, which is written whole."""
        self.runs = {**Results(self.path).runs, run.name: {"key": run.key, **asdict(run), **found}}
        part = self.path.with_suffix(".part")
        lines = [f"{json.dumps(name)}: {json.dumps(result)}" for name, result in self.runs.items()]
        part.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        part.replace(self.path)


class Watch(Callback):
    """Holds the logit scale at its limit and notes the first value that is not finite.

    Attributes:
        problem: What it was, and at which step; empty where there was none.
        losses: One a batch.
        gradient: Largest norm of a step's whole gradient.
        steps: How many steps of the optimiser were looked at.
    """

    def __init__(self) -> None:
        self.problem = ""
        self.losses: list[float] = []
        self.gradient = 0.0
        self.steps = 0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Before each batch, so that the optimiser moves it for no longer than a step."""
        with torch.no_grad():
            pl_module.encoder.log_logit_scale.fill_(math.log(100))  # type: ignore[union-attr]

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Looks at the gradients, summed over the batches of the step and averaged over the processes."""
        norms = self._look("gradient", {n: p.grad for n, p in pl_module.named_parameters() if p.grad is not None})
        self.gradient = max(self.gradient, math.hypot(*norms))
        self.steps += 1

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Looks at what is logged, and at weights and buffers."""
        logged = trainer.callback_metrics
        self._look("logged", logged)
        self._look("weight", {n: v for n, v in pl_module.state_dict().items() if isinstance(v, Tensor)})
        self.losses.append(float(logged["loss"]))

    def _look(self, sort: str, values: dict[str, Tensor]) -> list[float]:
        """The norm of each, which is finite only if all of it is (a float32 norm beyond 1e38 counts as infinite)."""
        real = {name: value.detach() for name, value in values.items() if value.is_floating_point()}
        norms = torch.stack(torch._foreach_norm(list(real.values()))).tolist()
        for name, norm in zip(real, norms, strict=True):
            if not math.isfinite(norm) and not self.problem:
                self.problem = f"{sort} {name} is {norm} at batch {len(self.losses)}, after {self.steps} steps"
        return norms


def fit(run: Run, out: Path) -> dict[str, Any]:
    """One run by the product's own parts; in each of its processes."""
    start = time.perf_counter()
    flags = [
        f"--trainer.max_steps={run.steps}",
        f"--trainer.precision={run.precision}",
        f"--trainer.accumulate_grad_batches={run.accumulate}",
        f"--trainer.devices={run.processes}",
        *(["--trainer.strategy=ddp"] if run.processes > 1 else []),
        f"--data.batch_size={BATCH // run.processes}",
        *("--trainer.accelerator=cpu", "--trainer.max_epochs=-1", "--data.num_workers=0"),
        *("--trainer.limit_val_batches=0", "--trainer.num_sanity_val_steps=0", "--trainer.val_check_interval=1.0"),
        *("--trainer.logger=false", "--trainer.enable_checkpointing=false", "--trainer.enable_progress_bar=false"),
        f"--trainer.default_root_dir={out}",
    ]
    if run.data == "photos":
        flags += [
            f"--data.root={PHOTOS}",
            f"--data.negatives.cache={out / 'notes'}",
            f"--model.encoder.name=local-dir:{out / 'towers'}",
            "--model.encoder.pretrained=",
        ]
    else:
        flags.append(f"--data.source.init_args.size={150 * BATCH}")  # several epochs: thresholds are reset at each
    parts = build(run.configs, [*flags, *run.flags])
    watch = Watch()
    kept = [callback for callback in parts.trainer.callbacks if not isinstance(callback, RunReport)]  # it only draws
    parts.trainer.callbacks = [*kept, watch]
    parts.trainer.fit(parts.model, parts.datamodule)
    problems = [watch.problem] * run.processes
    if run.processes > 1:
        torch.distributed.all_gather_object(problems, watch.problem)
    return {
        "first": sum(watch.losses[:SHOWN]) / len(watch.losses[:SHOWN]),
        "last": sum(watch.losses[-SHOWN:]) / len(watch.losses[-SHOWN:]),
        "gradient": watch.gradient,
        "done": watch.steps,
        "seconds": round(time.perf_counter() - start, 1),
        "problem": next(filter(None, problems), ""),
    }


def work(runs: list[Run], results: Results) -> None:
    """Makes runs one after the other in this process, which may be one of several."""
    rank = int(os.environ.get("LOCAL_RANK", 0))
    for run in runs:
        try:
            found = fit(run, results.path.parent)
        except Exception as error:  # a run that breaks is a finding, and the others are still to come
            results.put(run, {"problem": f"{type(error).__name__}: {' '.join(str(error).split())}"})
            if run.processes > 1:
                os._exit(1)  # the other process waits for this one; the parent ends it
            continue
        if rank == 0:
            results.put(run, found)
            print(f"{run.name}: {found['problem'] or 'finite'}, {found['seconds']} s", flush=True)


def start(runs: list[Run], out: Path) -> None:
    """Makes runs in processes of their own, as many as they need; what they say goes into ``OUT/log.txt``."""
    asked = out / "asked.json"
    asked.write_text(json.dumps([asdict(run) for run in runs]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    command = [sys.executable, __file__, "--out", str(out), "--work", str(asked)]
    with (out / "log.txt").open("ab") as log:
        several = runs[0].processes > 1
        ranks = [{"LOCAL_RANK": str(rank)} if several else {} for rank in range(runs[0].processes)]
        workers = [subprocess.Popen(command, env=environment | rank, stdout=log, stderr=log) for rank in ranks]
        try:
            while any(worker.poll() is None for worker in workers):
                if any(worker.poll() for worker in workers):
                    break  # the others would wait for it
                time.sleep(0.2)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


def make(runs: list[Run], results: Results) -> None:
    """Makes the runs that are missing."""
    for processes in sorted({run.processes for run in runs}):
        while left := [run for run in runs if run.processes == processes and Results(results.path).get(run) is None]:
            start(left, results.path.parent)
            if Results(results.path).get(left[0]) is None:  # not even an exception: killed, or out of memory
                results.put(left[0], {"problem": f"its process died; see {results.path.parent / 'log.txt'}"})


def make_towers(folder: Path) -> None:
    """CLIP's shape and tokenizer, as small as it goes: a folder in open_clip's format."""
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1}
    vision = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 32, "layers": 1}
    model = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}
    pixels = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.save(open_clip.CLIP(**model).state_dict(), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": pixels}))


def table(runs: list[Run], results: Results) -> Table:
    """A row a run."""
    shown = Table(title=f"logit scale 100, batch {BATCH}; losses are means of the first and last {SHOWN} batches")
    for column in ("recipe", "data", "precision"):
        shown.add_column(column, no_wrap=True)
    for column in ("accum.", "proc.", "first loss", "last loss", "gradient", "steps", "seconds"):
        shown.add_column(column, justify="right")
    shown.add_column("finite?")
    for run in runs:
        found = results.get(run) or {"problem": "not run"}
        numbers = [f"{found[name]:.4g}" if name in found else "" for name in ("first", "last", "gradient")]
        counts = [str(found.get(name, "")) for name in ("done", "seconds")]
        settings = (run.recipe, run.data, run.precision, str(run.accumulate), str(run.processes))
        shown.add_row(*settings, *numbers, *counts, found["problem"] or "yes")
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument("--data", nargs="+", choices=("scenes", "photos"), default=("scenes", "photos"))
    parser.add_argument("--steps", type=int, default=500, help="of the optimiser, in one process without accumulation")
    parser.add_argument("--short", type=int, default=25, help="steps with accumulation, and in two processes")
    parser.add_argument("--whole", action="store_true", help="every combination, each with --steps")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "fit_matrix")
    parser.add_argument("--table", action="store_true", help="of what is there; nothing is run")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="last: of every run, as fit takes them")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    out = given.out.resolve()
    results = Results(out / "runs.json")
    if given.work:
        warnings.filterwarnings("ignore")  # of Lightning's, many for each run
        torch.set_num_threads(1)
        asked = json.loads(given.work.read_text())
        work([Run(**run | {"flags": tuple(run["flags"])}) for run in asked], results)
        return 0

    runs = plan(given)
    if not given.table:
        if "photos" in given.data and not PHOTOS.is_dir():
            parser.error(f"no photographs at {PHOTOS}; set LIGHTNING_CR_TEST_DATA, or use --data scenes")
        make_towers(out / "towers")
        make(runs, results)
    results = Results(results.path)
    Console(width=160).print(table(runs, results))
    broken = [run for run in runs if (results.get(run) or {"problem": "not run"})["problem"]]
    print(f"{len(runs) - len(broken)} of {len(runs)} runs finite; {results.path}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
