"""What a measurement leaves: scores with all that is needed to redo them, and every example, for comparisons."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from lightning_cr.benchmarks.averages import Average, Interpolation, Mean, Precision
from lightning_cr.benchmarks.base import Benchmark, Judged, Measurement, Scoring
from lightning_cr.benchmarks.labelled import Labelled
from lightning_cr.errors import DataError
from lightning_cr.files import whole_file

__all__ = ["EXAMPLES", "Recorded", "read_record", "record", "write_examples"]

EXAMPLES = "examples.parquet"


def record(
    benchmarks: Mapping[str, Benchmark], measured: Mapping[str, Measurement], scoring: Scoring
) -> dict[str, Any]:
    """Scores and data of each benchmark, as JSON can hold them."""
    found = {}
    for name, measurement in measured.items():
        benchmark, official = benchmarks[name], benchmarks[name].official_ties
        found[name] = {
            "class": type(benchmark).__name__,
            "options": _options(benchmark),
            "rows": {
                "listed": benchmark.listed,
                "used": benchmark.used,
                "examples not counted": int(measurement.judged.margin.isnan().sum()),
                "duplicates": getattr(benchmark, "duplicates", 0),
                "true and false alike": getattr(benchmark, "contradictory", 0),
                "pictures": len(benchmark.pictures),
                "captions": len(benchmark.captions),
                "missing pictures": len(missing.names) if (missing := getattr(benchmark, "missing", None)) else 0,
            },
            "files": getattr(benchmark, "files", {}),
            "trained on": overlap._asdict() if (overlap := getattr(benchmark, "overlap", None)) else None,
            "a tie counts": official if scoring.ties == "official" else scoring.ties,
            "headline": benchmark.headline,
            "chosen": dict(benchmark.chosen),
            "averages": {average: _written(tree) for average, tree in benchmark.averages.items()},
            "withheld": [average for average in benchmark.averages if average not in measurement.scores],
            "scores": {
                score: {key: value for key, value in asdict(figure).items() if value is not None and value == value}
                | ({"blind": measurement.blind[score].value} if score in measurement.blind else {})
                | ({"likelihood": measurement.likelihood[score].value} if score in measurement.likelihood else {})
                for score, figure in measurement.scores.items()
            },
        }
    return found


def write_examples(
    path: Path, benchmarks: Mapping[str, Benchmark], measured: Mapping[str, Measurement], scoring: Scoring
) -> None:
    """One row an example: benchmark, subset, id, cluster (the picture), margin, right and truth.

    Margin and right are NaN where it is not counted, truth is null where it has no label sign.

    Raises:
        OSError: It cannot be written.
    """
    tables = []
    for name, measurement in measured.items():
        judged = measurement.judged
        columns = {
            "benchmark": pa.array([name] * len(judged.ids)).dictionary_encode(),
            "subset": pa.DictionaryArray.from_arrays(
                pa.array(judged.subset.numpy(), pa.int32()), pa.array(list(judged.subsets), pa.string())
            ),
            "id": pa.array(list(judged.ids), pa.string()),
            "cluster": pa.array(judged.cluster.numpy()),
            "margin": pa.array(judged.margin.numpy(), pa.float32()),
            "right": pa.array(benchmarks[name].right(judged, scoring.ties).numpy()),
            "truth": pa.nulls(len(judged.ids), pa.bool_()) if judged.truth is None else pa.array(judged.truth.numpy()),
        }
        tables.append(pa.table(columns))
    whole = pa.concat_tables([table.unify_dictionaries() for table in tables])
    with whole_file(path) as file:
        pq.write_table(whole, file, compression="zstd")


class Recorded:
    """A measurement as it was written.

    Attributes:
        path: The JSON file.
        results: What it holds.
        examples: The table beside it.
    """

    def __init__(self, path: Path, results: dict[str, Any], examples: Any) -> None:
        self.path, self.results, self.examples = path, results, examples

    @property
    def benchmarks(self) -> dict[str, Any]:
        """What was measured, by name."""
        found: dict[str, Any] = self.results["benchmarks"]
        return found

    def averages(self, benchmark: str) -> dict[str, Average]:
        """The averages of a benchmark."""
        return {name: _read(tree) for name, tree in self.benchmarks[benchmark]["averages"].items()}

    def of(self, benchmark: str) -> tuple[Judged, Tensor]:
        """The examples of a benchmark, and what each counts."""
        table = self.examples.filter(pa.compute.equal(self.examples["benchmark"], benchmark)).combine_chunks()
        names = table["subset"].to_pylist()
        place = {name: at for at, name in enumerate(dict.fromkeys(names))}
        # A file of before there were labels has no such column.
        truth = table["truth"] if "truth" in table.column_names else pa.nulls(len(names), pa.bool_())
        judged = Judged(
            list(place),
            torch.tensor([place[name] for name in names], dtype=torch.long),
            torch.from_numpy(table["margin"].to_numpy().copy()),
            torch.from_numpy(table["cluster"].to_numpy().copy()),
            table["id"].to_pylist(),
            None if truth.null_count else torch.tensor(truth.to_pylist(), dtype=torch.bool),
        )
        return judged, torch.from_numpy(table["right"].to_numpy().copy())


def read_record(path: Path) -> Recorded:
    """Reads a ``test_results.json`` and the examples beside it.

    Raises:
        DataError: One of them is missing, or is not what ``test`` writes.
    """
    try:
        results = json.loads(path.read_text())
        lack = _lack(results)
        examples = None if lack else pq.read_table(path.parent / EXAMPLES)
    except (OSError, ValueError, RecursionError, pa.ArrowInvalid) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"cannot read {path} and {EXAMPLES} beside it ({why}); give a test_results.json that python -m lightning_cr"
            " test wrote"
        ) from None
    if lack := lack or _lack_of_examples(examples):
        raise DataError(f"{path} {lack}; give a test_results.json that python -m lightning_cr test wrote")
    return Recorded(path, results, examples)


def _lack(results: Any) -> str:
    """What is wrong with a record; empty where it can be compared."""
    if not isinstance(results, dict) or not isinstance(results.get("benchmarks"), dict):
        return "has no benchmarks"
    if not isinstance(results.get("model", {}), dict):
        return f"has {str(results['model'])[:40]!r} as 'model', expected is an object"
    for name, found in results["benchmarks"].items():
        for key in ("averages", "scores"):
            if not isinstance(found, dict) or not isinstance(found.get(key), dict):
                return f"has no object '{key}' of {name}"
        for key in ("options", "files"):
            if not isinstance(found.get(key, {}), dict):
                return f"has {str(found[key])[:40]!r} as '{key}' of {name}, expected is an object"
        for average, tree in found["averages"].items():
            if not _is_average(tree):
                return f"has {str(tree)[:40]!r} as the average '{average}' of {name}, expected are names of subsets"
    return ""


def _is_average(written: Any) -> bool:
    if isinstance(written, dict) and "precision" in written:
        return isinstance(written["precision"], str) and written.get("interpolation") in get_args(Interpolation)
    if isinstance(written, dict):
        parts = written.get("mean")
        return isinstance(written.get("complete"), bool) and isinstance(parts, list) and all(map(_is_average, parts))
    return isinstance(written, list) and all(isinstance(name, str) for name in written)


def _lack_of_examples(examples: pa.Table) -> str:
    """What is wrong with the table beside a record."""
    for name, (fits, expected) in _COLUMNS.items():
        if name not in examples.column_names:
            return f"has {EXAMPLES} beside it without the column '{name}'"
        column = examples[name]
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not fits(kind) or column.null_count:
            return f"has {EXAMPLES} beside it with '{name}' of type {kind}, expected is {expected} in every row"
    return ""


_COLUMNS: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    **dict.fromkeys(("benchmark", "subset", "id"), (pa.types.is_string, "text")),
    "cluster": (pa.types.is_integer, "a whole number"),
    **dict.fromkeys(("margin", "right"), (pa.types.is_floating, "a number")),
}


def _options(benchmark: object) -> dict[str, Any]:
    """What it was built with, as far as it keeps that."""
    names = inspect.signature(type(benchmark).__init__).parameters
    kept = {name: getattr(benchmark, name) for name in names if name != "self" and hasattr(benchmark, name)}
    return {name: _option(value) for name, value in kept.items()}


def _option(value: Any) -> Any:
    """A part of a benchmark as what it was built with."""
    return {"class": type(value).__name__, "options": _options(value)} if isinstance(value, Labelled) else value


def _written(average: Average) -> Any:
    if isinstance(average, Mean):
        return {"mean": [_written(part) for part in average.of], "complete": average.complete}
    if isinstance(average, Precision):
        return {"precision": average.subset, "interpolation": average.interpolation}
    return list(average)


def _read(written: Any) -> Average:
    if isinstance(written, dict) and "precision" in written:
        return Precision(written["precision"], written["interpolation"])
    if isinstance(written, dict):
        return Mean(tuple(map(_read, written["mean"])), written["complete"])
    return tuple(written)
