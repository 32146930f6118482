"""What a user's mistake looks like: one line that says what, the value, what is allowed and the next step.

Every error that a user can cause derives from :class:`LightningCRError`; the command line prints its message without a
traceback and exits with a non-zero code. Anything else is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

__all__ = ["CheckpointError", "ConfigError", "DataError", "LightningCRError", "require", "suggest"]


class LightningCRError(Exception):
    """A mistake that the user can mend; its message is one line and names the next step."""


class ConfigError(LightningCRError):
    """A name or a value in the configuration that cannot be used."""


class DataError(LightningCRError):
    """A file or folder that is missing, unreadable or not what it should be."""


class CheckpointError(LightningCRError):
    """A checkpoint that cannot be written, read, or that belongs to another model."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Names the known words nearest to a mistyped one.

    Args:
        name: What the user wrote.
        known: The words that are allowed.

    Returns:
        `` Did you mean 'x'?`` with a leading space, or an empty string where nothing is near.

    >>> suggest("atemion", ["attention", "bias"])
    " Did you mean 'attention'?"
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def require(module: str, extra: str) -> ModuleType:
    """Imports an optional module, or says which one line installs it.

    Args:
        module: Dotted name of the module.
        extra: The extra of this package that brings it.

    Raises:
        ConfigError: The module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this needs the module '{error.name}', which is not installed; run: pip install 'lightning_cr[{extra}]'"
        ) from error
