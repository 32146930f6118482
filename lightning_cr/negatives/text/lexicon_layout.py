"""What a lexicon file says twice or leaves empty, with the line where it does: checked before it is indexed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lightning_cr.errors import DataError

__all__ = ["check_layout"]

_GROUPED = ("objects", "attributes", "compounds")
_LIMITS = ("of", "not_of")
_LIMIT = ", or limit the first group by of or not_of: without, the second is never used"


def check_layout(path: Path, document: Node | None) -> None:
    """Refuses keys that come twice, groups without words, and words that come twice where one of them is never used.

    A word may be in several groups of attributes ("old", of a man and of a car) if all but the last are limited to some
    things by ``of`` or ``not_of``, and in compounds of several heads.

    Args:
        path: The file, for the message.
        document: Its root.

    Raises:
        DataError: With the line.
    """
    for section, content, _ in _entries(path, document, "the file"):
        if section not in _GROUPED:
            continue
        first: dict[str, tuple[int, str, bool]] = {}
        for group, value, line in _entries(path, content, f"'{section}'"):
            settings = {key: node for key, node, _ in _entries(path, value, f"'{group}'")}
            words = settings.get("words") if isinstance(value, MappingNode) else value
            if not isinstance(words, SequenceNode) or not words.value:
                raise DataError(
                    f"{path} line {line}: the group '{group}' of '{section}' has no words; give it a list, or leave it"
                    " out"
                )
            limited = any(limit in settings for limit in _LIMITS)
            for name, at in _names(words):
                before, other, leaves_some = first.get(name, (0, "", True))
                if before and (other == group or not leaves_some):
                    advice = _LIMIT if section == "attributes" and other != group else ""
                    raise DataError(
                        f"{path} line {at}: names '{name}' a second time in '{section}' ('{group}'), after line"
                        f" {before} ('{other}'); keep one of them{advice}"
                    )
                first[name] = at, group, section == "compounds" or (section == "attributes" and limited)


def _entries(path: Path, node: Node | None, where: str) -> Iterator[tuple[str, Node, int]]:
    """Key, value and line of a mapping's entries; nothing of what is none."""
    lines: dict[str, int] = {}
    for key, value in node.value if isinstance(node, MappingNode) else ():
        line = key.start_mark.line + 1
        name = str(key.value)
        if name in lines:
            raise DataError(
                f"{path} line {line}: has '{name}' a second time in {where}, after line {lines[name]}; put them"
                " together"
            )
        lines[name] = line
        yield name, value, line


def _names(words: SequenceNode) -> Iterator[tuple[str, int]]:
    for item in words.value:
        if isinstance(item, ScalarNode):
            for name in str(item.value).split(" = "):
                yield name.strip().removeprefix("-"), item.start_mark.line + 1
