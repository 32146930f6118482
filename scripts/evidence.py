"""Trains every recipe and ablation of docs/evidence.md on the embedded world, and writes its tables and plots.

    pip install -e '.[measure]'
    python scripts/evidence.py                      # all of it; a run that is there already is not made again
    python scripts/evidence.py --rows NegCLIP AHNPL --seeds 2 --steps 40 --out runs/trial
    python scripts/evidence.py --only table         # the tables and plots of what is there

``scripts/evidence.yaml`` says what is compared. All rows see the same captions and pictures (the seed alone decides
them), take the same number of steps from the same base model, and have the same tuning budget: each recipe's learning
rate is the best of the same few, on a seed and on benchmark scenes that the tables do not use; an ablation takes over
that of its recipe. Each run is a process of its own, and what it measured goes into docs/evidence_runs.json at once, so
that an interrupted script goes on where it stopped; what changes a run's recipe or flags makes it run again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import yaml
from evidence_tables import write
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

ROOT = Path(__file__).parents[1]
PLAN = ROOT / "scripts" / "evidence.yaml"
TUNING_SEED = 1000
"""Seed of the run, and of the benchmark's scenes, on which learning rates are chosen."""


@dataclass
class Row:
    """One line of a table.

    Attributes:
        name: As the tables have it.
        config: Recipe in ``configs/``.
        overlay: What is laid over it.
        seeds: Seeds of its runs.
        like: The recipe whose learning rate it takes over; its own where empty.
    """

    name: str
    config: str
    overlay: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    like: str = ""


@dataclass(frozen=True)
class Job:
    """One run."""

    name: str
    config: str
    overlay: str
    lexicon: str
    flags: tuple[str, ...]

    @property
    def key(self) -> str:
        """Changes with all that decides the result."""
        path = ROOT / "configs" / f"{self.config}.yaml"
        recipe = path.read_text() if path.exists() else ""
        return hashlib.sha256(repr((recipe, self.overlay, self.lexicon, self.flags)).encode()).hexdigest()[:16]


BASE = Job("base model", "base", "", "", ())


class Ledger:
    """What was measured, by the name of the run, in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
        self._lock = Lock()

    def get(self, job: Job) -> dict[str, Any] | None:
        """The result of a run; None where it is still to be made."""
        found = self.runs.get(job.name)
        return found if found is not None and found["key"] == job.key else None

    def put(self, job: Job, measured: dict[str, Any]) -> None:
        """Adds a result, and writes the file whole."""
        with self._lock:
            self.runs[job.name] = {"key": job.key, **measured}
            part = self.path.with_suffix(".part")
            lines = [f"{json.dumps(name)}: {json.dumps(run)}" for name, run in sorted(self.runs.items())]
            part.write_text("{\n" + ",\n".join(lines) + "\n}\n")
            part.replace(self.path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=Path, default=PLAN)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "evidence", help="folders and logs of the runs")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where evidence.md and its plots are")
    parser.add_argument("--rows", nargs="*", help="these rows alone")
    parser.add_argument("--seeds", type=int, help="at most so many a row")
    parser.add_argument("--steps", type=int, help="other than the plan's; for a trial")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs side by side, one thread each")
    parser.add_argument("--only", choices=("tune", "table"), help="this part alone")
    given = parser.parse_args()

    plan = yaml.safe_load(given.plan.read_text())
    rows = [row for row in read_rows(plan, given.seeds) if not given.rows or row.name in given.rows]
    steps = given.steps or plan["steps"]
    ledger = Ledger(given.docs / "evidence_runs.json")
    start = time.perf_counter()
    trials = trials_of(rows, plan, steps)
    if given.only != "table" and not run_all([job for found in trials.values() for job in found], ledger, given):
        return 1
    rates = best_rates(trials, plan, ledger)
    jobs = {row.name: [_job(row, plan, steps, rates[row.like or row.name], seed) for seed in row.seeds] for row in rows}
    if given.only is None and not run_all([job for found in jobs.values() for job in found], ledger, given):
        return 1
    if given.only is None and not run_all([BASE], ledger, given):
        return 1
    base = (ledger.get(BASE) or {"scores": {}})["scores"]
    if given.only != "tune":
        write(plan, {name: [ledger.get(job) for job in found] for name, found in jobs.items()}, rates, base, given.docs)
    Console().print(f"{(time.perf_counter() - start) / 60:.1f} minutes")
    return 0


def read_rows(plan: dict[str, Any], most: int | None) -> list[Row]:
    """Recipes, then ablations."""
    rows = [Row(name, seeds=plan["seeds"], **entry) for name, entry in plan["recipes"].items()]
    for study in plan["ablations"]:
        seeds = study.get("seeds", plan["ablation_seeds"])
        rows += [Row(name, seeds=seeds, **entry) for name, entry in (study.get("rows") or {}).items()]
    for row in rows:
        row.seeds = row.seeds[:most]
    return rows


def _job(row: Row, plan: dict[str, Any], steps: int, rate: float, seed: int, *, tuning: bool = False) -> Job:
    batch = plan["batch_size"]
    flags = [
        f"--seed_everything={seed}",
        f"--model.optimizer.lr={rate}",
        f"--model.optimizer.warmup_steps={max(1, steps // 8)}",
        f"--data.batch_size={batch}",
        f"--data.source.init_args.size={steps * batch}",
        "--trainer.max_epochs=1",
        "--trainer.val_check_interval=1.0",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
    ]
    if tuning:
        flags.append(f"--data.benchmarks.scenes.init_args.seed={TUNING_SEED}")
    name = f"tuning/{row.name}/{rate:g}" if tuning else f"{row.name}/{seed}"
    overlay = yaml.safe_dump(row.overlay)
    return Job(name, row.config, overlay, _lexicon(plan) if "{lexicon}" in overlay else "", tuple(flags))


def _lexicon(plan: dict[str, Any]) -> str:
    """The scenes' lexicon with the plan's groups."""
    text = (ROOT / "lightning_cr" / "negatives" / "text" / "lexicon_scenes.yaml").read_text()
    words: dict[str, Any] = yaml.load(text, yaml.BaseLoader)
    for section, groups in plan["lexicon"].items():
        words[section] |= groups
    return yaml.safe_dump(words)


def trials_of(rows: list[Row], plan: dict[str, Any], steps: int) -> dict[str, list[Job]]:
    """One run a learning rate of each recipe that a row is or is like."""
    named = {row.name: row for row in read_rows(plan, None)}
    rates = [float(rate) for rate in plan["learning_rates"]]
    recipes = sorted({row.like or row.name for row in rows})
    return {
        name: [_job(named[name], plan, steps, rate, TUNING_SEED, tuning=True) for rate in rates] for name in recipes
    }


def best_rates(trials: dict[str, list[Job]], plan: dict[str, Any], ledger: Ledger) -> dict[str, float]:
    """The learning rate of each recipe with the highest mean of the seven categories."""
    best = {}
    for name, jobs in trials.items():
        results = [ledger.get(job) for job in jobs]
        scores = [-1.0 if result is None else result["scores"]["mean of 7"] for result in results]
        best[name] = float(plan["learning_rates"][scores.index(max(scores))])
    return best


def run_all(jobs: list[Job], ledger: Ledger, given: argparse.Namespace) -> bool:
    """Makes the runs that are missing, some side by side; says which failed."""
    left = [job for job in jobs if ledger.get(job) is None]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    failed = False
    with Progress(*columns) as progress, ThreadPoolExecutor(given.jobs) as pool:
        task = progress.add_task("runs", total=len(left))
        for done in as_completed([pool.submit(run, job, ledger, given.out) for job in left]):
            problem = done.result()
            if problem:
                failed = True
                progress.console.print(problem)
            progress.advance(task)
    return not failed


def run(job: Job, ledger: Ledger, out: Path) -> str:
    """One run in a process of its own; what went wrong, if anything."""
    folder = out / job.name.replace(" ", "_")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "lexicon.yaml").write_text(job.lexicon)
    (folder / "overlay.yaml").write_text(job.overlay.replace("{lexicon}", str(folder / "lexicon.yaml")))
    command = [sys.executable, str(ROOT / "scripts" / "evidence_run.py"), str(folder), job.config, *job.flags]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (folder / "log.txt").open("wb") as log:
        code = subprocess.call(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | threads)
    if code:
        return f"{job.name}: exit {code}, see {folder / 'log.txt'}"
    ledger.put(job, json.loads((folder / "measured.json").read_text()))
    return ""


if __name__ == "__main__":
    sys.exit(main())
