"""The table of a test, benchmark by benchmark: for the terminal, in Markdown and in LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lightning_cr.benchmarks.base import Benchmark, Measurement, Score

__all__ = ["latex", "markdown", "print_measured"]

_HEAD = ("", "score", "95% interval", "shorter caption", "n", "ties")


def _lines(benchmarks: Mapping[str, Benchmark], measured: Mapping[str, Measurement]) -> Iterator[list[list[str]]]:
    """The rows of each benchmark: its subsets, unless they are too many, then its averages."""
    for name, measurement in measured.items():
        averages = benchmarks[name].averages
        shown = [
            score
            for score in measurement.scores
            if benchmarks[name].prints_subsets or score in averages or not averages
        ]
        yield [_line(score, measurement.scores[score], measurement.blind.get(score)) for score in shown]


def _line(name: str, score: Score, blind: Score | None) -> list[str]:
    within = "" if score.low is None or score.high is None else f"{100 * score.low:.1f} to {100 * score.high:.1f}"
    return [
        name,
        f"{100 * score.value:.1f}",
        within,
        "" if blind is None else f"{100 * blind.value:.1f}",
        f"{score.n:,}",
        f"{score.ties:,}",
    ]


def print_measured(benchmarks: Mapping[str, Benchmark], measured: Mapping[str, Measurement]) -> None:
    """Prints the table to stdout: plain text where that is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Accuracy in %", title_justify="left", box=box.HORIZONTALS, pad_edge=False, title_style="bold")
    for column in _HEAD:
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for lines in _lines(benchmarks, measured):
        for line in lines:
            table.add_row(*line)
        table.add_section()
    Console(width=max(Console().width, 110)).print(table)  # names and figures are wanted whole


def markdown(benchmarks: Mapping[str, Benchmark], measured: Mapping[str, Measurement]) -> str:
    """The table in Markdown."""
    rows = [row for lines in _lines(benchmarks, measured) for row in lines]
    rule = ["---", *["---:"] * (len(_HEAD) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [list(_HEAD), rule, *rows])


def latex(benchmarks: Mapping[str, Benchmark], measured: Mapping[str, Measurement]) -> str:
    """The table in LaTeX, with booktabs' rules."""
    escaped = str.maketrans({"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#"})
    parts = [
        "".join(f"{' & '.join(cell.translate(escaped) for cell in row)} \\\\\n" for row in lines)
        for lines in _lines(benchmarks, measured)
    ]
    head = " & ".join(_HEAD).translate(escaped) + " \\\\\n"
    body = "\\midrule\n".join([head, *parts])
    return f"\\begin{{tabular}}{{l{'r' * (len(_HEAD) - 1)}}}\n\\toprule\n{body}\\bottomrule\n\\end{{tabular}}\n"
