"""The command ``compare``: paired differences between tests, the examples that flipped, and a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentParser, Namespace

from lightning_cr.benchmarks.records import Recorded, read_record
from lightning_cr.compare.paired import Difference, Flip, differences
from lightning_cr.errors import ConfigError, DataError

__all__ = ["HELP", "make_parser", "run"]

HELP = "Paired differences between two or more test_results.json, with intervals and the examples that flipped."
_Parser = TypeVar("_Parser", bound=ArgumentParser)


def make_parser(kind: type[_Parser]) -> _Parser:
    """The command's options.

    Args:
        kind: Class of the parser, which decides how errors are told.
    """
    parser = kind(prog="python -m lightning_cr compare", description=HELP)
    add = parser.add_argument
    add("results", nargs="+", type=str, help="Files that test wrote; the others are set against the first.")
    add("--out", type=str, default="", help="A folder for comparison.json, flips.jsonl and comparison.png.")
    add("--flips", type=int, default=5, help="Examples to print of each direction.")
    add("--resamples", type=int, default=1000, help="Of the pictures, for the 95%% intervals.")
    add("--seed", type=int, default=0, help="Of the resamples.")
    return parser


def run(options: Namespace) -> None:
    """Carries the command out.

    Raises:
        ConfigError: Fewer than two files, or a number out of range.
        DataError: A file is missing, is not what ``test`` writes, or has nothing in common with the first.
    """
    if len(options.results) < 2:
        raise ConfigError(
            f"compare needs two files or more, and has {len(options.results)}: RUN_A/test_results.json ..."
        )
    for name, least in (("flips", 0), ("resamples", 1)):
        if options[name] < least:
            raise ConfigError(f"--{name} is {options[name]}; it must be {least} or more")
    records = [read_record(Path(path)) for path in options.results]
    first = records[0]
    found: dict[str, dict[str, tuple[list[Difference], list[Flip]]]] = {}
    for record in records[1:]:
        shared = [name for name in first.benchmarks if name in record.benchmarks]
        if not shared:
            raise DataError(
                f"{first.path} has {', '.join(first.benchmarks) or 'nothing'}, {record.path} has"
                f" {', '.join(record.benchmarks) or 'nothing'}: there is no benchmark to compare"
            )
        print(f"{record.path} less {first.path}")
        _say_what_differs(first, record)
        for benchmark in shared:
            _say_other_options(benchmark, first, record)
            scores, flips, alone = differences(first, record, benchmark, options.resamples, options.seed)
            if alone:
                print(f"{benchmark}: {alone:,} examples are in one of the two only, and are left out")
            _print(scores)
            _print_flips(flips, options.flips)
            found.setdefault(str(record.path), {})[benchmark] = scores, flips
    if options.out:
        _write(Path(options.out), first, found)


def _say_what_differs(first: Recorded, other: Recorded) -> None:
    """Settings beside the weights that may explain a difference."""
    for key in ("precision", "scoring"):
        if first.results.get(key) != other.results.get(key):
            print(f"note: {key} is {first.results.get(key)} and {other.results.get(key)}")
    models = [record.results.get("model", {}) for record in (first, other)]
    for key in ("name", "activation", "preprocess"):
        if models[0].get(key) != models[1].get(key):
            print(f"note: the models' {key} is {models[0].get(key)} and {models[1].get(key)}")


def _say_other_options(benchmark: str, first: Recorded, other: Recorded) -> None:
    """The same name may stand for other examples: other files, another seed."""
    options = [record.benchmarks[benchmark].get("options", {}) for record in (first, other)]
    for key in sorted({*options[0], *options[1]} - {"images", "allow_missing"}):
        if options[0].get(key) != options[1].get(key):
            print(f"note: {benchmark} had {key} {options[0].get(key)} and {options[1].get(key)}")


def _print(scores: Sequence[Difference]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.HORIZONTALS, pad_edge=False, padding=(0, 1))
    for column in ("accuracy in %", "first", "second", "less", "95% interval", "n", "won", "lost"):
        table.add_column(column, justify="left" if column == "accuracy in %" else "right", no_wrap=True)
    for score in scores:
        clear = score.low > 0 or score.high < 0
        change = f"{100 * (score.second - score.first):+.1f}"
        table.add_row(
            score.name,
            f"{100 * score.first:.1f}",
            f"{100 * score.second:.1f}",
            f"[bold]{change}[/]" if clear else change,
            f"{100 * score.low:+.1f} to {100 * score.high:+.1f}",
            f"{score.n:,}",
            "" if score.gained is None else f"{score.gained:,}",
            "" if score.lost is None else f"{score.lost:,}",
        )
    Console(width=max(Console().width, 110)).print(table, crop=False)


def _print_flips(flips: Sequence[Flip], count: int) -> None:
    for word, part in (
        ("gained", [flip for flip in flips if flip.gained]),
        ("lost", [flip for flip in flips if not flip.gained]),
    ):
        for flip in part[:count]:
            print(f"{word}: {flip.subset} {flip.id}  {flip.first:+.3f} to {flip.second:+.3f}")


def _write(folder: Path, first: Recorded, found: dict[str, dict[str, tuple[list[Difference], list[Flip]]]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        results: dict[str, Any] = {"first": str(first.path), "others": {}}
        with (folder / "flips.jsonl").open("w", encoding="utf-8") as lines:
            for path, benchmarks in found.items():
                results["others"][path] = {
                    name: [asdict(s) for s in scores] for name, (scores, _) in benchmarks.items()
                }
                for name, (_, flips) in benchmarks.items():
                    for flip in flips:
                        lines.write(json.dumps({"results": path, "benchmark": name, **asdict(flip)}) + "\n")
        (folder / "comparison.json").write_text(json.dumps(results, indent=1))
        _draw(folder / "comparison.png", found)
    except OSError as error:
        raise DataError(f"cannot write into {folder} ({error.strerror or error}); give --out another folder") from error
    print(f"in {folder}: comparison.json, flips.jsonl, comparison.png")


def _draw(path: Path, found: dict[str, dict[str, tuple[list[Difference], list[Flip]]]]) -> None:
    from matplotlib.figure import Figure

    names = list(
        dict.fromkeys(s.name for benchmarks in found.values() for scores, _ in benchmarks.values() for s in scores)
    )
    figure = Figure(figsize=(8, 1.2 + 0.25 * len(names)), layout="constrained")
    axes = figure.subplots()
    for number, (other, benchmarks) in enumerate(found.items()):
        scores = {s.name: s for found_scores, _ in benchmarks.values() for s in found_scores}
        shown = [name for name in names if name in scores]
        at = [names.index(name) + 0.15 * number for name in shown]
        value = [100 * (scores[name].second - scores[name].first) for name in shown]
        low = [max(0.0, v - 100 * scores[name].low) for v, name in zip(value, shown, strict=True)]
        high = [max(0.0, 100 * scores[name].high - v) for v, name in zip(value, shown, strict=True)]
        axes.errorbar(value, at, xerr=[low, high], fmt="o", markersize=3, capsize=2, label=other)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("difference to the first, accuracy in points, 95% interval over pictures")
    if len(found) > 1:
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)
