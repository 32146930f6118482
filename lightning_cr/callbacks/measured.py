"""The table of a test, benchmark by benchmark: for the terminal, in Markdown and in LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lightning_cr.benchmarks.base import Benchmark, Measurement, Score

__all__ = ["latex", "markdown", "print_measured"]

_WIDEST = 400


def _head(measured: Mapping[str, Measurement]) -> list[str]:
    """The columns; that of likelihoods is there if a language model was asked."""
    likelier = ["likelier caption"] if any(measurement.likelihood for measurement in measured.values()) else []
    return ["", "score", "95% interval", "shorter caption", *likelier, "n", "ties"]


def _lines(benchmarks: Mapping[str, Benchmark], measured: Mapping[str, Measurement]) -> Iterator[list[list[str]]]:
    """The rows of each benchmark: its subsets, unless they are too many, then its averages."""
    columns = len(_head(measured))
    for name, measurement in measured.items():
        shown = benchmarks[name].shown(measurement)
        blind = (measurement.blind, measurement.likelihood)[: columns - 5]
        yield [_line(score, measurement.scores[score], [found.get(score) for found in blind]) for score in shown]


def _line(name: str, score: Score, blind: Sequence[Score | None]) -> list[str]:
    within = "" if score.low is None or score.high is None else f"{100 * score.low:.1f} to {100 * score.high:.1f}"
    return [
        name,
        f"{100 * score.value:.1f}",
        within,
        *("" if found is None else f"{100 * found.value:.1f}" for found in blind),
        f"{score.n:,}",
        f"{score.ties:,}",
    ]


def print_measured(benchmarks: Mapping[str, Benchmark], measured: Mapping[str, Measurement]) -> None:
    """Prints the table to stdout: plain text where that is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Accuracy in %", title_justify="left", box=box.HORIZONTALS, pad_edge=False, title_style="bold")
    for column in _head(measured):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for lines in _lines(benchmarks, measured):
        for line in lines:
            table.add_row(*line)
        table.add_section()
    Console(width=_WIDEST).print(table)  # a narrow terminal breaks lines, but no name or figure is cut
    for name, benchmark in benchmarks.items():
        for note in _notes(benchmark):
            print(f"{name}: {note}")


def _notes(benchmark: Benchmark) -> Iterator[str]:
    """What else there is to know of the rows that were scored."""
    duplicates, contradictory = (getattr(benchmark, name, 0) for name in ("duplicates", "contradictory"))
    if benchmark.used < benchmark.listed:
        yield f"{benchmark.used:,} of {benchmark.listed:,} rows are scored"
    if missing := getattr(getattr(benchmark, "missing", None), "names", ()):
        yield f"{len(missing):,} pictures are missing"
    if duplicates:
        yield f"{duplicates:,} rows say what another one says"
    if contradictory:
        yield f"{contradictory:,} rows have a false caption that is a true one: a tie for every model"
    if overlap := getattr(benchmark, "overlap", None):
        yield (
            f"{overlap.pictures:,} of {overlap.numbered:,} pictures with a number in COCO are in data.trained_on,"
            f" {overlap.rows:,} of {benchmark.used:,} rows have one"
        )


def markdown(benchmarks: Mapping[str, Benchmark], measured: Mapping[str, Measurement]) -> str:
    """The table in Markdown."""
    rows = [row for lines in _lines(benchmarks, measured) for row in lines]
    head = _head(measured)
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, rule, *rows])


def latex(benchmarks: Mapping[str, Benchmark], measured: Mapping[str, Measurement]) -> str:
    """The table in LaTeX, with booktabs' rules."""
    escaped = str.maketrans({"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#"})
    parts = [
        "".join(f"{' & '.join(cell.translate(escaped) for cell in row)} \\\\\n" for row in lines)
        for lines in _lines(benchmarks, measured)
    ]
    columns = _head(measured)
    head = " & ".join(column.translate(escaped) for column in columns) + " \\\\\n"
    body = "\\midrule\n".join([head, *parts])
    return f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}\n\\toprule\n{body}\\bottomrule\n\\end{{tabular}}\n"
