"""Annotation files, read with errors that say file, row and key; and a count of the pictures that are missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_origin

from lightning_cr.errors import ConfigError, DataError

__all__ = ["Files", "Missing", "Row", "read_json", "read_lines", "read_rows", "read_text"]

Files = MutableMapping[Path, dict[str, Any]]
"""Of each file that was read ``bytes`` and ``sha256``, and ``about`` where it says that of itself."""

_SHOWN = 10
_Kind = TypeVar("_Kind", str, int, list[Any], dict[str, Any])


def read_text(path: Path, get: str, files: Files | None = None) -> str:
    """What is in a file of text.

    Args:
        path: The file.
        get: Where to get it, for the error.
        files: Takes the file's size and digest in.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"there is no file {path}; {get}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; mend it or fetch it again") from None
    if files is not None:
        files[path] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return text


def read_json(path: Path, get: str, files: Files | None = None) -> Any:
    """What is in a JSON file; arguments as of :func:`read_text`.

    Raises:
        DataError: There is none, it is malformed, or an object has a key twice, of which JSON would lose one.
    """
    try:
        return json.loads(read_text(path, get, files), object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{path} is not JSON: {error.msg} at {where}; mend it or fetch it again") from None
    except _TwiceError as error:
        raise DataError(f"{path}: an object has the key {str(error)!r} twice; mend it or fetch it again") from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply to be read; fetch it again") from None


class _TwiceError(ValueError):
    """A key that an object has twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        seen: set[str] = set()
        raise _TwiceError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return entry


class Row:
    """One entry of an annotation file, whose keys are checked when they are read.

    Args:
        path: Of the file.
        name: What the entry is called there.
        entry: The entry.

    Raises:
        DataError: It is no object.
    """

    def __init__(self, path: Path, name: object, entry: object) -> None:
        self.path, self.name = path, name
        if not isinstance(entry, dict):
            raise self.wrong(f"is of type {type(entry).__name__}, expected is an object")
        self.entry: dict[str, Any] = entry

    def get(self, key: str, kind: type[_Kind]) -> _Kind:
        """The value of a key.

        Raises:
            DataError: It is missing, or of another type.
        """
        if key not in self.entry:
            raise self.wrong(
                f"has no key '{key}', expected is {_NAMES[kind]}; it has {', '.join(self.entry) or 'none'}"
            )
        value = self.entry[key]
        if not isinstance(value, get_origin(kind) or kind) or isinstance(value, bool):
            raise self.wrong(f"has {str(value)[:40]!r} as '{key}', expected is {_NAMES[kind]}")
        return cast(_Kind, value)

    def wrong(self, what: str) -> DataError:
        """An error about this entry."""
        return DataError(f"{self.path}: row {self.name!r} {what}; fetch the file again")


_NAMES = {str: "text", int: "a whole number", list[Any]: "a list", dict[str, Any]: "an object"}


def read_rows(path: Path, get: str, files: Files | None = None) -> Iterator[Row]:
    """The entries of a JSON list, of a list under the key ``rows``, or of an object by their keys.

    Arguments as of :func:`read_text`.

    Raises:
        DataError: The file is missing or malformed, or an entry is no object.
    """
    data = read_json(path, get, files)
    if isinstance(data, dict) and isinstance(data.get("rows"), list):
        if files is not None and "about" in data:
            files[path]["about"] = data["about"]
        data = data["rows"]
    if not isinstance(data, (list, dict)):
        raise DataError(f"{path} holds a {type(data).__name__}, expected is a list or an object of rows; {get}")
    for name, entry in data.items() if isinstance(data, dict) else enumerate(data):
        yield Row(path, name, entry)


def read_lines(path: Path, get: str, files: Files | None = None) -> Iterator[Row]:
    """The objects of a file of JSON lines, by their numbers from 1; arguments as of :func:`read_text`.

    Raises:
        DataError: The file is missing, or a line is not JSON, no object, or has a key twice.
    """
    for number, line in enumerate(read_text(path, get, files).split("\n"), 1):
        if line.strip():
            try:
                yield Row(path, number, json.loads(line, object_pairs_hook=_unique))
            except json.JSONDecodeError as error:
                raise DataError(f"{path}: line {number} is not JSON: {error.msg}; mend it") from None
            except _TwiceError as error:
                raise DataError(f"{path}: line {number} has the key {str(error)!r} twice; mend it") from None


class Missing:
    """Pictures that are not there: how many may be, and which.

    Args:
        benchmark: Its class, for the error.
        allowed: So many may be missing.
        get: Where to get them.

    Raises:
        ConfigError: A number below 0.
    """

    def __init__(self, benchmark: str, allowed: int, get: str) -> None:
        if allowed < 0:
            raise ConfigError(f"allow_missing of {benchmark} is {allowed}; it must be 0 or more")
        self.benchmark, self.allowed, self.get = benchmark, allowed, get
        self.names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """Counts one picture, once."""
        self.names[name] = None

    def check(self, folder: Path) -> None:
        """Stops past what is allowed.

        Args:
            folder: Where they were looked for.

        Raises:
            DataError: With the count and the first of them.
        """
        if len(self.names) > self.allowed:
            shown = ", ".join(list(self.names)[:_SHOWN]) + (", ..." if len(self.names) > _SHOWN else "")
            raise DataError(
                f"{self.benchmark}: {len(self.names)} pictures are not in {folder}, {self.allowed} are allowed:"
                f" {shown}; {self.get}, or go on without them by its init_args.allow_missing: {len(self.names)}"
            )
