"""Turns the parser's messages into one line: what was wrong, and the nearest thing that exists."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from lightning_cr import benchmarks, data, losses
from lightning_cr.errors import suggest
from lightning_cr.negatives import image, text

__all__ = ["explain", "plug_classes"]

ROOMS = {
    "model.losses": (losses, losses.Loss),
    "model.image_negatives": (image, image.FeatureNegatives),
    "data.negatives": (text, text.TextRule),
    "data.source": (data, data.Source),
    "data.benchmarks": (benchmarks, benchmarks.Benchmark),
}
"""Where a configuration names classes: the room that offers them, and what they derive from."""


def plug_classes(key: str = "") -> dict[str, type]:
    """The classes that a configuration can name under a key, or under any, by their short names."""
    rooms = [room for name, room in ROOMS.items() if name in key] or list(ROOMS.values())
    found = ((name, getattr(room, name), base) for room, base in rooms for name in room.__all__)
    return {
        name: c for name, c, base in found if inspect.isclass(c) and issubclass(c, base) and not inspect.isabstract(c)
    }


def explain(message: str, parser: argparse.ArgumentParser) -> str:
    """One line from a message of the parser, with a suggestion where a name was mistyped.

    Args:
        message: What the parser says; each level of nesting is told in front of the next.
        parser: Whose options are suggested.
    """
    line = " ".join(message.split())
    keys = list(dict.fromkeys(re.findall(r"Parser key \"([\w.]+)\"", line)))
    if "Problems parsing config" in line:
        broken = " and ".join(malformed(sys.argv)) or "a --config file"
        return f"{broken} is no valid YAML: {line.partition('config: ')[2]}"
    if match := re.search(r"unrecognized arguments: (\S+)", line):
        name = match[1].partition("=")[0]
        return f"unknown option {name}.{suggest(name, options(parser))} See --help"
    if match := re.search(r"(?:import path string: |Import path |No module named '|Unable to import )([\w.]+)", line):
        classes = plug_classes(".".join(keys))
        wanted = match[1].rpartition(".")[2]
        return f"{at(keys)}no class '{match[1]}'.{suggest(wanted, classes)} Allowed: {', '.join(sorted(classes))}"
    if match := re.search(r"but ([\w.]+) is abstract", line):
        known_classes = ", ".join(sorted(plug_classes(".".join(keys))))
        where = keys[0] if keys else "the configuration"
        return (
            f"a flag names an entry that {where} does not have; check its name, or give its class first:"
            f" --{where}.NAME=CLASS with one of {known_classes}"
        )
    if match := re.search(r"(?:Option|Key|key|option) '?\"?([\w.]+)'?\"? is not (?:accepted|expected)", line):
        near = suggest(last(match[1]), names(parser))
        return f"{at([k for k in keys if k != match[1]])}unknown name '{match[1]}'.{near} See --help"
    if match := re.search(r"Group '([\w.]+)' does not accept nested key '([\w.]+)'", line):
        return f"{match[1]}: unknown name '{match[2]}'.{suggest(last(match[2]), names(parser))} See --help"
    if match := re.search(r"invalid choice: '?([\w.]+)'? \(choose from (.*)\)", line):
        allowed = match[2].replace("'", "").split(", ")
        return f"no command '{match[1]}'.{suggest(match[1], allowed)} Allowed: {', '.join(allowed)}"
    if match := re.search(r"(?:Got value|Given value): (.*?)$", line):
        types = dict.fromkeys(re.findall(r"Expected an? (?:<class ')?(\w+)", line))
        return f"{at(keys)}expected {' or '.join(types) or 'another type'}, got '{match[1]}'"
    return re.sub(r"^Parser key \"([\w.]+)\":", r"--\1:", line)


def malformed(arguments: list[str]) -> Iterator[str]:
    """The files among the arguments that are no YAML; the parser does not name them."""
    for argument in arguments:
        path = argument.partition("=")[2] or argument
        if path.endswith((".yaml", ".yml", ".json")):
            try:
                yaml.safe_load(Path(path).read_text(encoding="utf-8"))
            except (yaml.YAMLError, UnicodeDecodeError):
                yield path
            except OSError:
                continue


def at(keys: list[str]) -> str:
    """``a.b: `` for the keys that a message is about, from the outermost to the innermost, or nothing."""
    return f"{'.'.join(keys)}: " if keys else ""


def last(name: str) -> str:
    """The last part of a dotted name."""
    return name.rpartition(".")[2]


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
    known = {last(option).lstrip("-") for option in options(parser)}
    for thing in plug_classes().values():
        known |= set(inspect.signature(thing).parameters)
    return known
