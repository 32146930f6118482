"""What rules have learned from a corpus, on disk beside its annotation: learned once, read at every start after.

One file holds the corpus's counts, one file each rule's state. A file is written whole and named by a digest of all
that decides its content (captions, tags, lexicon, rule, options, their files, code), so nothing is ever stale.

The files are pickles, and are read by an unpickler that makes nothing but plain values, NumPy arrays and objects of
the text negatives' own classes and of the classes in the rules' modules: no file can have it call anything else.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning_cr.negatives.text.annotation import AnnotatedCorpus, code_digest
from lightning_cr.negatives.text.base import TextRule
from lightning_cr.negatives.text.context import CorpusContext
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.pieces import open_pieces, write_pieces

__all__ = ["LearnedFiles"]

log = logging.getLogger(__name__)

_SUFFIX = ".learned"
_OWN = __name__.rpartition(".")[0]
_PLAIN = {
    *(("builtins", name) for name in ("bool", "int", "float", "complex", "str", "bytes", "bytearray")),
    *(("builtins", name) for name in ("list", "tuple", "dict", "set", "frozenset")),
    *(("collections", name) for name in ("Counter", "defaultdict", "OrderedDict", "deque")),
    *(("numpy", "dtype"), ("numpy", "ndarray"), ("numpy._core.numeric", "_frombuffer")),
}
"""What may be named in a file besides our own classes."""


class LearnedFiles:
    """What was learned from one corpus with one lexicon.

    Args:
        corpus: The annotated captions; the files are put beside theirs.
        lexicon: The words that the rules may replace.
        max_words: From longer captions nothing is learned but counts.
    """

    def __init__(self, corpus: AnnotatedCorpus, lexicon: Lexicon, max_words: int) -> None:
        self.folder = corpus.paths[0].parent
        code = [code_digest(str(path)) for path in sorted(Path(__file__).parent.glob("*.py"))]
        words = [code_digest(str(lexicon.path)), repr(sorted(lexicon.unlisted.items()))]
        self._about = [[path.name for path in corpus.paths], words, code, max_words]
        self._context = CorpusContext()

    def counts(self, count: Callable[[], CorpusContext]) -> CorpusContext:
        """The corpus's counts, from disk or, if they are not there, made and kept."""
        path = self._path("counts")
        found = self._read(path, {_OWN})
        if found is None:
            made = count()
            # What is read back is mapped, and so shared with the workers; what was made is not.
            found = self._kept(path, made, {_OWN}, "the counts") or made
        self._context = found
        return self._context

    def teach(self, rule: TextRule, learn: Callable[[TextRule], None]) -> None:
        """Gives a rule what it learned before or, if that is not there, has it learn and keeps it.

        A rule's state is all its attributes but the lexicon, and what it computes again when asked.

        Args:
            rule: Bound to the lexicon.
            learn: Has it learn from :meth:`counts` and the corpus.
        """
        path = self._path(_identity(rule))
        allowed = {_OWN, *(base.__module__ for base in type(rule).__mro__)} - {"abc", "builtins"}
        state = self._read(path, allowed)
        if state is None:
            learn(rule)
            state = self._kept(path, _state(rule), allowed, f"what {type(rule).__name__} has learned")
        if state is not None:
            vars(rule).update(state)

    def beside(self, rule: TextRule, part: str, suffix: str) -> Path:
        """Where to keep what follows from what a rule has learned and from a part of the corpus."""
        return self._path([*_identity(rule), part], suffix)

    def _path(self, what: object, suffix: str = _SUFFIX) -> Path:
        about = json.dumps([self._about, what], default=repr)
        return self.folder / f"{hashlib.blake2b(about.encode(), digest_size=20).hexdigest()}{suffix}"

    def _kept(self, path: Path, value: object, allowed: set[str], what: str) -> Any:
        """What was written as it is read, or None with a warning where it cannot be written or read."""
        stream, arrays = io.BytesIO(), list[pickle.PickleBuffer]()
        try:
            _Pickler(stream, self._context, arrays.append).dump(value)
            write_pieces(path, [stream.getbuffer(), *(array.raw() for array in arrays)])
        except Exception as error:  # a rule of the user's may hold anything
            log.warning("%s cannot be kept in '%s' (%s); it is made anew at each start", what, path.parent, error)
            return None
        found = self._read(path, allowed)
        if found is None:
            path.unlink(missing_ok=True)
        return found

    def _read(self, path: Path, allowed: set[str]) -> Any:
        """What a file holds, or None where there is none or, with a warning, where it is of no use."""
        if not path.exists():
            return None
        try:
            body, *arrays = open_pieces(path)
            return _Unpickler(io.BytesIO(body), arrays, self._context, allowed).load()
        except Exception as error:  # bytes that are no pickle can raise anything
            reason = " ".join(str(error).split())[:200]
            log.warning("what was learned is not taken from '%s' (%s); it is learned anew", path, reason)
            return None


class _Pickler(pickle.Pickler):
    """Names the corpus's counts where a rule holds them, instead of writing them with each rule."""

    def __init__(self, stream: io.BytesIO, context: CorpusContext, keep: Callable[[pickle.PickleBuffer], Any]) -> None:
        super().__init__(stream, protocol=5, buffer_callback=keep)
        self._names = {id(context): "context", id(context.ngrams): "ngrams"}

    def persistent_id(self, value: Any) -> str | None:
        return self._names.get(id(value))


class _Unpickler(pickle.Unpickler):
    """Makes nothing but what is allowed by name."""

    def __init__(
        self, stream: io.BytesIO, arrays: Sequence[memoryview], context: CorpusContext, allowed: set[str]
    ) -> None:
        super().__init__(stream, buffers=arrays)
        self._context = context
        self._allowed = allowed

    def persistent_load(self, name: str) -> Any:
        return {"context": self._context, "ngrams": self._context.ngrams}[name]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        if module in self._allowed or (module.startswith(f"{_OWN}.") and _OWN in self._allowed):
            found = super().find_class(module, name) if "." not in name else None
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is none of the rules' classes")


def _state(rule: TextRule) -> dict[str, Any]:
    cls = type(rule)
    left_out = {name for name in vars(rule) if isinstance(getattr(cls, name, None), cached_property)}
    return {name: value for name, value in vars(rule).items() if name not in left_out | {"_lexicon"}}


def _identity(rule: TextRule) -> list[object]:
    contents = [hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in rule.files]
    return [f"{type(rule).__module__}.{type(rule).__qualname__}", rule.options, contents, _modules(rule)]


def _modules(rule: TextRule) -> list[str]:
    """The code of the modules that a rule's classes are from."""
    files = (getattr(sys.modules.get(base.__module__), "__file__", None) for base in type(rule).__mro__)
    return [code_digest(file) for file in files if file]
