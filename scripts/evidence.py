"""Trains every recipe and ablation of docs/evidence.md on the embedded world, and writes its tables and plots.

    pip install -e '.[measure]'
    python scripts/evidence.py                      # all of it; a run that is there already is not made again
    python scripts/evidence.py --rows NegCLIP AHNPL --seeds 2 --steps 40 --out runs/trial
    python scripts/evidence.py --only table         # the tables and plots of what is there

``scripts/evidence.yaml`` says what is compared. All rows see the same captions and pictures (the seed alone decides
them), take the same number of steps from the same base model, and have the same tuning budget: each recipe's learning
rate is the best of the same few, on a seed and on benchmark scenes that the tables do not use; an ablation takes over
that of its recipe. Each run is a process of its own, so that an interrupted script goes on where it stopped.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
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

    folder: Path
    config: str
    overlay: str
    flags: tuple[str, ...]

    @property
    def key(self) -> str:
        """Changes with all that decides the result."""
        recipe = (ROOT / "configs" / f"{self.config}.yaml").read_text()
        return hashlib.sha256(repr((recipe, self.overlay, self.flags)).encode()).hexdigest()[:16]

    def result(self) -> dict[str, Any] | None:
        """What the run measured; None where it is still to be made."""
        path = self.folder / "row.json"
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text())
        return found if found["key"] == self.key else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=Path, default=PLAN)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "evidence")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where evidence.md and its plots are")
    parser.add_argument("--rows", nargs="*", help="these rows alone")
    parser.add_argument("--seeds", type=int, help="at most so many a row")
    parser.add_argument("--steps", type=int, help="other than the plan's; for a trial")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs side by side, one thread each")
    parser.add_argument("--only", choices=("tune", "train", "table"), help="this part alone")
    given = parser.parse_args()

    plan = yaml.safe_load(given.plan.read_text())
    rows = [row for row in read_rows(plan, given.seeds) if not given.rows or row.name in given.rows]
    steps = given.steps or plan["steps"]
    start = time.perf_counter()
    rates = tune(rows, plan, steps, given)
    if given.only == "tune":
        return 0
    jobs = [job for row in rows for job in jobs_of(row, plan, steps, rates[row.like or row.name], given.out)]
    if given.only != "table" and not run_all(jobs, given.jobs):
        return 1
    results = {
        row.name: [job.result() for job in jobs_of(row, plan, steps, rates[row.like or row.name], given.out)]
        for row in rows
    }
    write(plan, results, rates, given.docs)
    Console().print(f"{len(jobs)} runs, {(time.perf_counter() - start) / 60:.1f} minutes of them now")
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


def jobs_of(row: Row, plan: dict[str, Any], steps: int, rate: float, out: Path) -> Iterator[Job]:
    for seed in row.seeds:
        folder = out / row.name.replace(" ", "_").replace("/", "-") / str(seed)
        yield make_job(row, plan, steps, rate, seed, folder)


def make_job(row: Row, plan: dict[str, Any], steps: int, rate: float, seed: int, folder: Path) -> Job:
    batch = plan["batch_size"]
    flags = (
        f"--seed_everything={seed}",
        f"--model.optimizer.lr={rate}",
        f"--model.optimizer.warmup_steps={max(1, steps // 8)}",
        f"--data.batch_size={batch}",
        f"--data.source.init_args.size={steps * batch}",
        "--trainer.max_epochs=1",
        "--trainer.val_check_interval=1.0",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        *plan.get("flags", ()),
    )
    return Job(folder, row.config, yaml.safe_dump(row.overlay), flags)


def tune(rows: list[Row], plan: dict[str, Any], steps: int, given: argparse.Namespace) -> dict[str, float]:
    """The learning rate of each recipe: the best of the plan's on a seed and on scenes that no table uses."""
    recipes = {row.like or row.name for row in rows}
    named = {row.name: row for row in read_rows(plan, None)}
    rates = [float(rate) for rate in plan["learning_rates"]]
    if len(rates) == 1:
        return dict.fromkeys(sorted(recipes), rates[0])
    jobs: dict[str, list[Job]] = {}
    for name in sorted(recipes):
        jobs[name] = []
        for rate in rates:
            folder = given.out / "tuning" / f"{name.replace(' ', '_')}-{rate}"
            job = make_job(named[name], plan, steps, rate, TUNING_SEED, folder)
            flags = (*job.flags, f"--data.benchmarks.scenes.init_args.seed={TUNING_SEED}")
            jobs[name].append(Job(folder, job.config, job.overlay, flags))
    if given.only != "table" and not run_all([job for found in jobs.values() for job in found], given.jobs):
        sys.exit(1)
    best = {}
    for name, found in jobs.items():
        scores = [headline(job.result()) for job in found]
        best[name] = rates[scores.index(max(scores))]
    return best


def headline(result: dict[str, Any] | None) -> float:
    return -1.0 if result is None else float(result["scores"]["mean of 7"])


def run_all(jobs: list[Job], width: int) -> bool:
    """Makes the runs that are missing, some side by side; says which failed."""
    left = [job for job in jobs if job.result() is None]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    failed = []
    with Progress(*columns) as progress, ThreadPoolExecutor(width) as pool:
        task = progress.add_task("runs", total=len(left))
        for done in as_completed({pool.submit(run, job): job for job in left}):
            problem = done.result()
            if problem:
                failed.append(problem)
                progress.console.print(problem)
            progress.advance(task)
    return not failed


def run(job: Job) -> str:
    """One run in a process of its own; what went wrong, if anything."""
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    (job.folder / "overlay.yaml").write_text(job.overlay)
    command = [sys.executable, str(ROOT / "scripts" / "evidence_run.py"), str(job.folder), job.config, *job.flags]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (job.folder / "log.txt").open("wb") as log:
        code = subprocess.call(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | threads)
    if code:
        return f"{job.folder}: exit {code}, see log.txt there"
    measured = json.loads((job.folder / "measured.json").read_text())
    whole = job.folder / "row.json.part"
    whole.write_text(json.dumps({"key": job.key, **measured}, indent=1))
    whole.replace(job.folder / "row.json")
    return ""


if __name__ == "__main__":
    sys.exit(main())
