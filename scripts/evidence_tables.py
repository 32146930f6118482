"""The tables and plots of docs/evidence.md, from what scripts/evidence.py has measured."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from scipy.stats import t as student

matplotlib.use("Agg")
from matplotlib import pyplot as plt

Results = Mapping[str, Sequence[dict[str, Any] | None]]

COLUMNS = {
    "replace_obj": "replace obj",
    "replace_att": "replace att",
    "replace_rel": "replace rel",
    "swap_obj": "swap obj",
    "swap_att": "swap att",
    "add_obj": "add obj",
    "add_att": "add att",
    "mean of 7": "mean of 7",
    "hard_positive": "hard positive",
    "winoground/group": "pairs, group",
    "held_out_pairs": "held-out pairs",
    "retrieval/i2t_r@1": "i2t R@1",
    "retrieval/t2i_r@1": "t2i R@1",
    "linear probe": "probe mAP",
}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the 95% interval of Student's t over seeds; infinite for one.

    >>> [round(number, 3) for number in interval([1.0, 2.0, 3.0])]
    [2.0, 2.484]
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.inf
    return mean, float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))


def write(
    plan: dict[str, Any], results: Results, rates: Mapping[str, float], base: Mapping[str, float], docs: Path
) -> None:
    """Puts each table between its markers in evidence.md, and draws its plot beside it."""
    page = docs / "evidence.md"
    text = page.read_text() if page.exists() else _blank(plan)
    if not any(run for runs in results.values() for run in runs):
        raise SystemExit("nothing of this plan is measured yet; run python scripts/evidence.py")
    against = plan["against"]
    recipes = [name for name in plan["recipes"] if any(results.get(name, ()))]
    before = next((run["before"] for runs in results.values() for run in runs if run and run["before"]), {}) | dict(
        base
    )
    text = _between(text, "recipes", _means(recipes, results, before, rates))
    text = _between(text, "differences", _differences(recipes, against, results))
    if recipes:
        _plot(docs / "evidence_recipes.png", recipes, results, "accuracy in %, mean and 95% interval over seeds")
    for study in plan["ablations"]:
        names = [name for name in [*study.get("with", ()), *(study.get("rows") or {})] if any(results.get(name, ()))]
        if not any(any(results.get(name, ())) for name in study.get("rows") or names):
            text = _between(text, study["name"], _still_to_measure(study, results).strip())
            continue
        base = study.get("against", names[0])
        tables = _means(names, results) + "\n\n" + _differences(names, base, results)
        text = _between(text, study["name"], tables + _still_to_measure(study, results))
        _plot(docs / f"evidence_{study['name']}.png", names, results, study["title"])
    seconds = [run["seconds"] for runs in results.values() for run in runs if run]
    text = _between(
        text, "runtime", f"{len(seconds)} runs, {sum(seconds) / 3600:.1f} hours of one core, without the tuning."
    )
    page.write_text(text)


def _still_to_measure(study: dict[str, Any], results: Results) -> str:
    rows = study.get("rows") or {}
    left = [name for name in rows if not results.get(name) or None in results[name]]
    return f"\n\nNot measured yet, or not on all seeds: {', '.join(left)}." if left else ""


def _blank(plan: dict[str, Any]) -> str:
    """A page with a place for each table."""
    parts = [("Recipes", "recipes"), ("Differences", "differences")]
    parts += [(study["title"], study["name"]) for study in plan["ablations"]]
    parts.append(("Runtime", "runtime"))
    return "# Evidence\n" + "".join(f"\n## {title}\n\n<!-- {name} -->\n<!-- end -->\n" for title, name in parts)


def _between(text: str, name: str, table: str) -> str:
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(text):
        return text
    return pattern.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)


def _values(name: str, column: str, results: Results) -> dict[int, float]:
    """By the place of the seed, so that runs pair up."""
    return {at: 100 * run["scores"][column] for at, run in enumerate(results[name]) if run}


def _table(first: str, names: Sequence[str], cell: Callable[[str, str], str], lines: Sequence[str] = ()) -> str:
    head = f"| {first} | " + " | ".join(COLUMNS.values()) + " |"
    rule = "|---|" + "---|" * len(COLUMNS)
    rows = [f"| {name} | " + " | ".join(cell(name, column) for column in COLUMNS) + " |" for name in names]
    return "\n".join([head, rule, *lines, *rows])


def _means(
    names: Sequence[str],
    results: Results,
    before: Mapping[str, float] | None = None,
    rates: Mapping[str, float] | None = None,
) -> str:
    def cell(name: str, column: str) -> str:
        mean, half = interval(list(_values(name, column, results).values()))
        return f"{mean:.1f} ± {half:.1f}" if math.isfinite(half) else f"{mean:.1f}"

    start = [f"{100 * before[c]:.1f}" if before and c in before else "" for c in COLUMNS]
    lines = ["| base model | " + " | ".join(start) + " |"] if before else []
    said = ", ".join(f"{name} {rates[name]:g}" for name in names if name in rates) if rates else ""
    counts = sorted({len(_values(name, "mean of 7", results)) for name in names})
    seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    note = f"\n\nMean and half the 95% interval over {seeds} seeds." + (f" Learning rates: {said}." if said else "")
    return _table("accuracy in %", names, cell, lines) + note


def _differences(names: Sequence[str], against: str, results: Results) -> str:
    def cell(name: str, column: str) -> str:
        one, other = _values(name, column, results), _values(against, column, results)
        both = sorted(one.keys() & other.keys())
        if not both:
            return ""
        mean, half = interval([one[at] - other[at] for at in both])
        clear = "**" if abs(mean) > half else ""
        return f"{clear}{mean:+.1f}{clear} ± {half:.1f}" if math.isfinite(half) else f"{mean:+.1f}"

    others = [name for name in names if name != against]
    if not any(results.get(against, ())) or not others:
        return ""
    note = "\n\nPaired by seed; bold where the 95% interval leaves out 0, without correction for how many there are."
    return _table(f"less {against}", others, cell) + note


def _plot(path: Path, names: Sequence[str], results: Results, title: str) -> None:
    shown = ("replace_rel", "swap_obj", "swap_att", "mean of 7", "hard_positive", "retrieval/t2i_r@1", "linear probe")
    figure, axes = plt.subplots(figsize=(1.2 + 1.5 * len(shown), 1.6 + 0.16 * len(names)), layout="constrained")
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        points = [interval(list(_values(name, column, results).values())) for column in shown]
        at = np.arange(len(shown)) - 0.4 + width * (number + 0.5)
        halves = [half if math.isfinite(half) else 0.0 for _, half in points]
        axes.errorbar(at, [mean for mean, _ in points], halves, fmt="o", markersize=3, capsize=2, label=name)
    axes.set_xticks(range(len(shown)), [COLUMNS[column] for column in shown])
    axes.set_ylabel("accuracy in %")
    axes.set_title(title, fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)
    plt.close(figure)
