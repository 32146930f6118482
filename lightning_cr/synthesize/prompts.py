"""What a pipeline is told: a template for the wrong caption, or an instruction for kinds that are one edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any

from lightning_cr.errors import ConfigError, suggest

__all__ = ["INSTRUCTIONS", "Prompts"]

FIELDS = ("caption", "negative", "original", "replacement")
INSTRUCTIONS = {
    "replace_obj": "change the {original} to {replacement}",
    "replace_att": "change the {original} to {replacement}",
}
"""For pipelines that follow instructions; a swap, a relation and what is added have no words of their own to name."""


@dataclass(frozen=True)
class Prompts:
    """Templates with the fields ``{caption}``, ``{negative}``, ``{original}`` and ``{replacement}``.

    Attributes:
        template: For all negatives.
        instructions: In its place for negatives of these kinds.

    Raises:
        ConfigError: A template has another field, or braces that are not closed.
    """

    template: str = "{negative}"
    instructions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("model.prompt", self.template)
        for kind, template in self.instructions.items():
            _check(f"model.instructions.{kind}", template)

    def __call__(self, row: Mapping[str, Any]) -> str:
        """The prompt of a negative.

        Args:
            row: With the fields, and the negative's ``kind``.
        """
        template = self.instructions.get(row["kind"], self.template)
        return template.format(**{name: row[name] for name in FIELDS})


def _check(key: str, template: str) -> None:
    try:
        names = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ConfigError(f"--{key} is '{template}': {error}; write {{{{ for a brace") from error
    for name in names:
        if name not in FIELDS:
            allowed = ", ".join(f"{{{one}}}" for one in FIELDS)
            raise ConfigError(f"--{key} has the field {{{name}}}; allowed are {allowed}.{suggest(name, FIELDS)}")
    try:
        template.format(**dict.fromkeys(FIELDS, "word"))
    except (KeyError, IndexError, ValueError) as error:  # {negative:d} wants a number
        raise ConfigError(f"--{key} is '{template}': {error}; the fields are words, such as {{negative}}") from error
