"""What a store has after a run: pictures kept and dropped by kind, in the terminal and in ``report.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lightning_cr.errors import DataError
from lightning_cr.files import reason, whole_file
from lightning_cr.negatives.image.store import PictureStore
from lightning_cr.synthesize.judge import FilterConfig

__all__ = ["counts", "print_report", "write_report"]

_WHY = {
    "": "kept",
    "blank": "blank",
    "filter": "below the filter",
    "unmeasured": "not measured",
}


def counts(rows: Any, keep: FilterConfig | None) -> dict[str, dict[str, int]]:
    """Pictures by kind of negative, then by what became of them.

    Args:
        rows: Of a store.
        keep: What a filter must prefer; None where there is none.
    """
    found: dict[str, dict[str, int]] = {}
    names = ("kind", "dropped", "text_margin", "image_margin")
    for kind, dropped, text, image in zip(*(rows[name].to_pylist() for name in names), strict=True):
        if not dropped and keep is not None:
            measured = text is not None and image is not None  # not before the run that brought the filter
            dropped = "unmeasured" if not measured else "" if keep.keeps(text, image) else "filter"
        row = found.setdefault(kind, dict.fromkeys(_WHY.values(), 0))
        word = _WHY.get(dropped, dropped)
        row[word] = row.get(word, 0) + 1
    return dict(sorted(found.items()))


def print_report(found: Mapping[str, Mapping[str, int]]) -> None:
    """A row a kind, and the sums; columns that are all zero are left out."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    words = list(dict.fromkeys(word for row in found.values() for word in row))
    totals = {word: sum(row.get(word, 0) for row in found.values()) for word in words}
    shown = [word for word in words if totals[word] or word == "kept"]
    table = Table(title="Pictures", title_justify="left", box=box.HORIZONTALS, pad_edge=False, title_style="bold")
    table.add_column("kind", no_wrap=True)
    for word in shown:
        table.add_column(word, justify="right", no_wrap=True)
    for kind, row in found.items():
        table.add_row(kind, *(f"{row.get(word, 0):,}" for word in shown))
    table.add_section()
    table.add_row("all", *(f"{totals[word]:,}" for word in shown))
    Console().print(table)


def write_report(store: PictureStore, found: Mapping[str, Any], recipe: Mapping[str, Any], about: Any) -> None:
    """Writes ``report.json``; the recipes of earlier runs on the store stay in it.

    Args:
        store: Where to.
        found: Of :func:`counts`.
        recipe: What decided the pixels of this run, and its ``digest``.
        about: What else to say of this run.

    Raises:
        DataError: It cannot be written.
    """
    path = store.folder / "report.json"
    try:
        try:
            before = json.loads(path.read_text(encoding="utf-8"))["recipes"]
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            before = {}
        recipes = {**before, recipe["digest"]: dict(recipe)}
        with whole_file(path) as file:
            file.write(f"{json.dumps({'kinds': found, 'last_run': about, 'recipes': recipes}, indent=2)}\n".encode())
    except OSError as error:
        raise DataError(f"{path} cannot be written ({reason(error)}); the pictures are all there") from error
