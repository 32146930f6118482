"""Turns the parser's messages into one line: what was wrong, and the nearest thing that exists."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import yaml
from jsonargparse import ArgumentParser

from lightning_cr import benchmarks, callbacks, data, losses
from lightning_cr.errors import suggest
from lightning_cr.negatives import image, text

__all__ = ["explain", "plug_classes"]

ROOMS: dict[str, tuple[ModuleType, type | tuple[type, ...]]] = {
    "model.losses": (losses, losses.Loss),
    "model.image_negatives": (image, image.FeatureNegatives),
    "data.negatives": (text, text.TextRule),
    "data.source": (data, data.Source),
    "data.benchmarks": (benchmarks, (benchmarks.Benchmark, benchmarks.Labelled)),
    "trainer.callbacks": (callbacks, callbacks.AverageWeights),  # the others are every run's
}
"""Where a configuration names classes: the room that offers them, and what they derive from."""


def plug_classes(key: str = "") -> dict[str, type]:
    """The classes that a configuration can name under a key, or under any, by their short names."""
    rooms = [room for name, room in ROOMS.items() if name in key] or list(ROOMS.values())
    found = ((name, getattr(room, name), base) for room, base in rooms for name in room.__all__)
    return {
        name: c for name, c, base in found if inspect.isclass(c) and issubclass(c, base) and not inspect.isabstract(c)
    }


def explain(message: str, parser: argparse.ArgumentParser, error: BaseException | None = None) -> str:
    """One line from a message of the parser, with a suggestion where a name was mistyped.

    Args:
        message: What the parser says; each level of nesting is told in front of the next.
        parser: Whose options are suggested.
        error: Where the message comes from; tells the entry of several (losses, rules) that it is about.
    """
    line = " ".join(message.split())
    keys = list(dict.fromkeys(re.findall(r"Parser key \"([\w.]+)\"", line)))
    entry, entries = entry_of(error)
    keys = [*keys[:1], entry, *keys[1:]] if entry else keys
    if "Problems parsing config" in line:
        broken = " and ".join(malformed(sys.argv)) or "a --config file"
        return f"{broken} is no valid YAML: {line.partition('config: ')[2]}"
    owner = plug_classes().get(last((re.findall(r"class_path '([\w.]+)'", line) or [""])[-1]))
    unknown = re.search(r"(?:Option|Key|key|option) '?\"?([\w.]+)'?\"? is not (?:accepted|expected)", line)
    if owner and (match := unknown or re.search(r"unrecognized arguments: --([\w.]+)", line)):
        allowed = parameters(owner)
        near, listed = suggest(match[1], allowed), ", ".join(allowed) or "nothing"
        return f"{at([k for k in keys if k != match[1]])}{owner.__name__} has no '{match[1]}'.{near} Allowed: {listed}"
    if match := re.search(r"unrecognized arguments: (\S+)", line):
        name = match[1].partition("=")[0]
        return f"unknown option {name}.{suggest(name, options(parser))} See --help"
    if match := re.search(r"(?:import path string: |Import path |No module named '|Unable to import )([\w.]+)", line):
        classes = plug_classes(".".join(keys))
        wanted = match[1].rpartition(".")[2]
        return f"{at(keys)}no class '{match[1]}'.{suggest(wanted, classes)} Allowed: {', '.join(sorted(classes))}"
    if entry and re.search(r"is abstract|Not a valid subclass of \w+\. Got value: \{", line):
        return (
            f"{at(keys)}no such entry.{suggest(entry, entries)} To add one, name its class:"
            f" --{keys[0]}.{entry}=CLASS with one of {', '.join(sorted(plug_classes(keys[0])))}"
        )
    if match := re.search(r"Not a valid subclass of \w+\. Got value: (\S+)", line):
        listed = ", ".join(sorted(plug_classes(".".join(keys))))
        return (
            f"{at(keys)}expected a class, got '{match[1]}'. Allowed: {listed}; in a --config, null takes an entry out"
        )
    if unknown:
        near = suggest(last(unknown[1]), names(parser) - {unknown[1]})
        return f"{at([k for k in keys if k != unknown[1]])}unknown name '{unknown[1]}'.{near} See --help"
    if match := re.search(r"(Group|Subcommand) '([\w.]+)' does not accept (?:nested key|option) '([\w.]+)'", line):
        name = match[3] if match[1] == "Subcommand" else f"{match[2]}.{match[3]}"
        return f"unknown name '{name}'.{suggest(name, (o.lstrip('-') for o in options(parser)))} See --help"
    if match := re.search(r"invalid choice: '?([\w.]+)'? \(choose from (.*)\)", line):
        allowed = match[2].replace("'", "").split(", ")
        return f"no command '{match[1]}'.{suggest(match[1], allowed)} Allowed: {', '.join(allowed)}"
    if match := re.search(r"(?:Got value|Given value): (.*?)$", line):
        if literals := re.findall(r"Literal\[(.*?)\]", line):
            allowed = list(dict.fromkeys(", ".join(literals).replace("'", "").split(", ")))
            near = suggest(match[1], allowed)
            return f"{at(keys)}expected one of {', '.join(allowed)}, got '{match[1]}'.{near}"
        types = dict.fromkeys(re.findall(r"Expected an? (?:<class ')?(\w+)", line))
        return f"{at(keys)}expected {' or '.join(types) or 'another type'}, got '{match[1]}'"
    return re.sub(r"^Parser key \"([\w.]+)\":", r"--\1:", line)


def entry_of(error: BaseException | None) -> tuple[str, list[str]]:
    """The entry that a parser was at, and the entries that there were before; the parser's message names neither."""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            entry, before = (frame.f_locals.get(name) for name in ("k", "prev_val"))
            if frame.f_code.co_name == "adapt_typehints" and isinstance(entry, str):
                return entry, list(before) if isinstance(before, dict) else []
        error = error.__cause__
    return "", []


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
        known |= set(parameters(thing))
    return known


def parameters(thing: type) -> list[str]:
    """What a class can be given, its base classes' parameters included."""
    found: list[str] = ArgumentParser().add_class_arguments(thing, fail_untyped=False)
    return found
