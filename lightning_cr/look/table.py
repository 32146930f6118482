"""Negatives for a person: each caption with the words that were changed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from lightning_cr.negatives.text.base import Negative
from lightning_cr.negatives.text.tagging import tokenize

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["marked", "print_negatives", "printable"]

_LONGEST = 300  # characters; more is no caption that a person reads


def marked(caption: str, negative: str) -> list[tuple[str, str]]:
    """The negative in parts, each with ``old``, ``new`` or nothing: what is gone stands before what came.

    >>> "".join(text for text, _ in marked("A dog on a cat.", "A cat on a dog."))
    'A [dog > cat] on a [cat > dog].'
    >>> "".join(text for text, _ in marked("Two dogs on a red sofa", "Two red dogs on a sofa"))
    'Two [+ red] dogs on a [- red] sofa'
    """
    before, after = tokenize(caption), tokenize(negative)
    old, new = [word for word, *_ in before], [word for word, *_ in after]
    parts: list[tuple[str, str]] = []
    for what, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            for place in range(k, m):
                apart = place and after[place][1] > after[place - 1][2]
                parts.append((f"{' ' if apart else ''}{new[place]}", ""))
        else:
            sign = " > " if j > i and m > k else ""
            parts += [(f"{' ' if parts else ''}[{'' if sign else '+ ' if m > k else '- '}", "")]
            parts += [(" ".join(old[i:j]), "old"), (sign, ""), (" ".join(new[k:m]), "new"), ("]", "")]
    return parts


def printable(text: str) -> str:
    """A text that any terminal shows as it is: no control characters, nothing that the output cannot encode."""
    safe = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return safe.encode(encoding, "replace").decode(encoding)


def print_negatives(rows: Iterable[tuple[str, Sequence[Negative | None]]], kinds: Sequence[str]) -> None:
    """Prints a table to stdout.

    Args:
        rows: Captions with their negatives.
        kinds: The slots, in order.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.HORIZONTALS, pad_edge=False)
    table.add_column("rule", no_wrap=True)
    table.add_column("caption, with what was [taken out > put in]".replace("[", r"\["), overflow="fold")
    table.add_column("concreteness", justify="right", no_wrap=True)
    for caption, negatives in rows:
        table.add_row("", _styled([(caption, "bold")]), "")
        for kind, negative in zip(kinds, negatives, strict=True):
            if negative is None:
                table.add_row(kind, "-", "")
            else:
                rating = "" if negative.concreteness is None else f"{negative.concreteness:.2f}"
                table.add_row(kind, _styled(marked(caption, negative.text)), rating)
        table.add_section()
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def _styled(parts: Sequence[tuple[str, str]]) -> Text:
    from rich.text import Text

    styles = {"old": "red", "new": "green"}
    text = Text()
    for part, style in parts:
        text.append(printable(part), styles.get(style, style))
    if len(text) > _LONGEST:
        text.truncate(_LONGEST, overflow="ellipsis")
    return text
