"""The printed table: scores before and after, in groups, with an interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from lightning_cr.benchmarks.base import Score

__all__ = ["SEVEN", "Scores", "as_scores", "grouped", "print_scores", "wilson"]

Scores = dict[str, dict[str, Any]]
"""Category to ``accuracy`` in 0..1 (None where it is not a number), ``n`` and ``ties``: as ``results.json`` has it."""

SEVEN = ("replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att", "add_obj", "add_att")
"""SugarCrepe's categories, in the order of its paper."""

_RANKS = ("seven", "mean", "hard_positive", "winoground", "held_out_pairs", "other", "retrieval")


def as_scores(scores: Mapping[str, Score]) -> Scores:
    """The scores as JSON can hold them."""
    return {
        name: {"accuracy": float(s.value) if math.isfinite(s.value) else None, "n": int(s.n), "ties": int(s.ties)}
        for name, s in scores.items()
    }


def wilson(accuracy: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95% interval of a share of n items (Wilson): it stays in 0..1 and is honest at 0 and 1.

    >>> [round(bound, 3) for bound in wilson(1.0, 100)]
    [0.963, 1.0]
    """
    if n <= 0:
        return 0.0, 1.0
    middle = accuracy + z * z / (2 * n)
    half = z * math.sqrt(accuracy * (1 - accuracy) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _rank(name: str) -> str:
    base = name.rsplit("/", 1)[-1]
    if base in SEVEN:
        return "seven"
    if base.startswith("mean of"):
        return "mean"
    # A name that two benchmarks share has the benchmark's before it.
    return next((part for part in name.split("/") if part in _RANKS), "other")


def grouped(names: Iterable[str]) -> list[list[str]]:
    """The categories in groups to be ruled off: the seven, their mean, hard positives, pairs, and retrieval last.

    >>> grouped(["retrieval/i2t_r@1", "mean of 7", "swap_obj", "replace_obj"])
    [['replace_obj', 'swap_obj'], ['mean of 7'], ['retrieval/i2t_r@1']]
    """
    groups: dict[str, list[str]] = {rank: [] for rank in _RANKS}
    for name in names:
        groups[_rank(name)].append(name)
    groups["seven"].sort(key=lambda name: SEVEN.index(name.rsplit("/", 1)[-1]))
    tight = [
        groups["seven"],
        groups["mean"],
        groups["hard_positive"] + groups["winoground"] + groups["held_out_pairs"] + groups["other"],
        groups["retrieval"],
    ]
    return [group for group in tight if group]


def print_scores(after: Scores, before: Scores | None = None, title: str = "") -> None:
    """Prints a table to stdout: plain text where that is no terminal.

    Args:
        after: The scores.
        before: Those of the start; without them there is one column.
        title: Line above.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.HORIZONTALS, pad_edge=False, title_style="bold")
    table.add_column("accuracy in %", no_wrap=True)
    for column in ("n", *(("before", "after", "difference") if before is not None else ("score",)), "95% interval"):
        table.add_column(column, justify="right", no_wrap=True)
    for group in grouped(after):
        for name in group:
            table.add_row(*_row(name, after[name], before), style="bold" if _rank(name) == "mean" else None)
        table.add_section()
    Console().print(table)


def _row(name: str, score: dict[str, Any], before: Scores | None) -> list[str]:
    value, n = score["accuracy"], score["n"]
    cells = [name, f"{n:,}"]
    if before is not None:
        earlier = before.get(name, {}).get("accuracy")
        cells.append(_percent(earlier))
    cells.append(_percent(value))
    if before is not None:
        cells.append(_difference(earlier, value))
    cells.append("-" if value is None else "{:.1f} to {:.1f}".format(*(100 * bound for bound in wilson(value, n))))
    return cells


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _difference(earlier: float | None, value: float | None) -> str:
    if value is None or earlier is None:
        return "-"
    change = round(100 * value, 1) - round(100 * earlier, 1)  # of the figures that stand beside it
    text = f"{change:+.1f}"
    if text in ("+0.0", "-0.0"):
        return "0.0"
    return f"[{'green' if change > 0 else 'red'}]{text}[/]"
