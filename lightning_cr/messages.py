"""Turns the parser's messages into one line: what was wrong, and the nearest thing that exists."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator

import lightning_cr.benchmarks
import lightning_cr.data
import lightning_cr.losses
import lightning_cr.negatives.image
import lightning_cr.negatives.text
from lightning_cr.errors import suggest

__all__ = ["explain", "plug_classes"]

ROOMS = (
    lightning_cr.losses,
    lightning_cr.negatives.text,
    lightning_cr.negatives.image,
    lightning_cr.data,
    lightning_cr.benchmarks,
)


def plug_classes() -> dict[str, type]:
    """The classes that a configuration can name, by their short names."""
    found = ((name, getattr(room, name)) for room in ROOMS for name in room.__all__)
    return {name: thing for name, thing in found if inspect.isclass(thing) and not inspect.isabstract(thing)}


def explain(message: str, parser: argparse.ArgumentParser) -> str:
    """One line from a message of the parser, with a suggestion where a name was mistyped.

    Args:
        message: What the parser says.
        parser: Whose options are suggested.
    """
    text = " ".join(message.split())
    # The parser prefixes each level of nesting; the innermost says what is wrong, the outermost says where.
    if match := re.search(r"unrecognized arguments: (\S+)", text):
        name = match[1].partition("=")[0]
        return f"unknown option {name}.{suggest(name, options(parser))} See --help, or --model.losses.help=CLASS"
    if match := re.search(r"(?:Expected a dot import path string|Import path|No module named)[^A-Za-z]*([\w.]+)", text):
        classes = plug_classes()
        name = match[1].rpartition(".")[2]
        known = ", ".join(sorted(classes))
        return f"{where(text)}no class '{match[1]}'.{suggest(name, classes)} Known classes: {known}"
    if match := re.search(r"(?:Option|Key|key|option) '?\"?([\w.]+)'?\"? is not (?:accepted|expected)", text):
        name = match[1].rpartition(".")[2]
        return f"{where(text, match[1])}unknown name '{match[1]}'.{suggest(name, names(parser))} See --help"
    if match := re.search(r"Group '([\w.]+)' does not accept nested key '([\w.]+)'", text):
        return f"{match[1]}: unknown name '{match[2]}'.{suggest(match[2].rpartition('.')[2], names(parser))} See --help"
    return text


def where(text: str, but: str = "") -> str:
    """``key: `` for the key that a message is about, or nothing."""
    keys = [key for key in re.findall(r"Parser key \"([\w.]+)\"", text) if key != but]
    return f"{'.'.join(dict.fromkeys(keys))}: " if keys else ""


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every option of a parser and of its subcommands."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action.choices, dict):
            for sub in action.choices.values():
                if isinstance(sub, argparse.ArgumentParser):
                    yield from options(sub)


def names(parser: argparse.ArgumentParser) -> set[str]:
    """The last parts of all options, and the parameters of every class that can be named."""
    last = {option.rpartition(".")[2].lstrip("-") for option in options(parser)}
    for thing in plug_classes().values():
        last |= set(inspect.signature(thing).parameters)
    return last
