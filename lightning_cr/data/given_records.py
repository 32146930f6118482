"""Files of captions with given negatives, row by row: NegCLIP's, CE-CLIP's and AHNPL's, and a plain form of ours."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_cr.data.coco_annotations import Problems
from lightning_cr.errors import DataError

__all__ = ["AUGMENTED", "GIVEN", "Given", "Row", "read_rows"]

GIVEN = "given"
"""The kind of a negative of which its file says none."""

AUGMENTED = {
    "relation": "swap_obj",
    "adj_swap": "swap_att",
    "adj": "replace_att",
    "noun": "replace_obj",
    "verb": "replace_rel",
}
"""CE-CLIP's and AHNPL's names (``relation_aug_caption`` ...) and the slots of configs/ahnpl.yaml that they are."""

_SUFFIX = "_aug_caption"
_PLACEHOLDER = "###"  # what CE-CLIP's generator writes where it made nothing
_KIND = re.compile(r"[\w.-]{1,40}")
_PICKLES = (".npy", ".npz", ".pkl", ".pickle", ".pt")
_SHAPES = (
    "a row has an image (image, image_path, filepath or image_id), a caption (caption or title), and negatives:"
    " neg_caption (NegCLIP), *_aug_caption with valid_caption (CE-CLIP, AHNPL), or negatives, a list of {text, kind} or"
    " kind to text"
)


@dataclass(slots=True)
class Given:
    """A negative as its file gives it."""

    text: str
    kind: str
    concreteness: float | None = None


@dataclass(slots=True)
class Row:
    """One caption with its negatives.

    Attributes:
        where: File and line, to tell a person.
        number: Of the row in its file, from 0; what ``similar`` counts.
        image: Path of the picture, or its number in COCO.
        caption: The true caption.
        negatives: Those that can be trained on.
        similar: Numbers of the rows with similar pictures (NegCLIP's ``neg_image``).
    """

    where: str
    number: int
    image: str | int
    caption: str
    negatives: list[Given]
    similar: tuple[int, ...] = ()


class _BadRowError(ValueError):
    """Why a row cannot be used."""


def read_rows(path: Path, problems: Problems, left_out: Counter[str]) -> Iterator[Row]:
    """The rows of a file that can be used, in order.

    Args:
        path: ``.tsv``, ``.json`` (a list of records), ``.jsonl`` or ``.parquet``.
        problems: Where the others are counted.
        left_out: Where negatives are counted that no row is to blame for: ``equal`` to their caption, or ``empty``.

    Raises:
        DataError: The file cannot be read, or holds something else.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is no file of given negatives: {_advice(path)}")
    try:
        for number, (place, record) in enumerate(reader(path)):
            where = f"{path} {place}"
            try:
                if isinstance(record, _BadRowError):
                    raise record
                yield _row(where, number, record, left_out)
            except _BadRowError as why:
                problems.add(f"{where}: {why}")
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"cannot read {path}: {reason}; mend it or fetch it again") from error


def _advice(path: Path) -> str:
    if path.suffix.lower() in _PICKLES:
        convert = (
            "import json, numpy; json.dump(numpy.load('IN.npy', allow_pickle=True).tolist(), open('OUT.json', 'w'))"
        )
        return f'a pickle can run code when it is read; if you trust it, convert it once: python -c "{convert}"'
    return f"its name ends in '{path.suffix}', expected is {', '.join(_READERS)}"


def _tsv(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        needed = ("title", "filepath", "neg_caption")
        if missing := [name for name in needed if name not in (rows.fieldnames or ())]:
            found = ", ".join(name for name in rows.fieldnames or () if name)[:80] or "none"
            raise DataError(f"{path} line 1 lacks {', '.join(missing)}; it has {found}; {_SHAPES}")
        for record in rows:
            cells = {name: cell for name, cell in record.items() if cell is not None and name is not None}
            yield f"line {rows.line_num}", cells


def _json(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        records = json.load(file)
    if not isinstance(records, list):
        raise DataError(f"{path} holds a {type(records).__name__}, not a list of records; {_SHAPES}")
    for number, record in enumerate(records):
        yield f"record {number}", record


def _jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if text := line.strip():
                try:
                    yield f"line {number}", json.loads(text)
                except (ValueError, RecursionError) as error:
                    yield f"line {number}", _BadRowError(f"no JSON ({' '.join(str(error).split())[:80]})")


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow.parquet as pq

    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=4096):
            for record in batch.to_pylist():
                yield f"row {number}", record
                number += 1


_READERS: dict[str, Callable[[Path], Iterator[tuple[str, Any]]]] = {
    ".tsv": _tsv,
    ".json": _json,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def _row(where: str, number: int, record: Any, left_out: Counter[str]) -> Row:
    if not isinstance(record, dict):
        raise _BadRowError(f"a {type(record).__name__}, not an object; {_SHAPES}")
    caption = _first(record, "caption", "title")
    if not isinstance(caption, str) or not (caption := caption.strip()):
        raise _BadRowError(f"no caption (caption or title) but {_brief(caption)}")
    image = _first(record, "image", "image_path", "filepath", "image_id")
    if isinstance(image, str) and image.isascii() and image.isdigit():
        image = int(image)
    if not isinstance(image, (str, int)) or isinstance(image, bool) or image == "":
        raise _BadRowError(f"no picture (image, image_path, filepath or image_id) but {_brief(image)}")
    similar: tuple[int, ...] = ()
    if "neg_caption" in record:
        found = [Given(_text(text), GIVEN) for text in _literal(record, "neg_caption")]
        if "neg_image" in record:
            similar = tuple(_literal(record, "neg_image"))
            if not all(type(index) is int for index in similar):
                raise _BadRowError(f"neg_image is {_brief(similar)}, not a list of row numbers")
    elif any(name.endswith(_SUFFIX) for name in record):
        found = _augmented(record)
    elif "negatives" in record:
        found = list(_negatives(record["negatives"]))
    else:
        raise _BadRowError(f"no negatives among {', '.join(map(str, record))[:80]}; {_SHAPES}")
    kept = []
    for negative in found:
        if not negative.text.strip():
            left_out["empty"] += 1
        elif _letters(negative.text) == _letters(caption):
            left_out["equal"] += 1
        else:
            negative.text = negative.text.strip()
            kept.append(negative)
    return Row(where, number, image, caption, kept, similar)


def _first(record: dict[str, Any], *names: str) -> Any:
    """What the record has under the first of some names; a table's column may hold nothing in this row."""
    return next((record[name] for name in names if record.get(name) is not None), None)


def _literal(record: dict[str, Any], name: str) -> list[Any]:
    """A list, which a table holds as Python would write it."""
    value = record[name]
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise _BadRowError(f"{name} is no list: {_brief(record[name])}") from None
    if not isinstance(value, list):
        raise _BadRowError(f"{name} is no list: {_brief(record[name])}")
    return value


def _augmented(record: dict[str, Any]) -> list[Given]:
    """CE-CLIP's: which of the captions are negatives that exist is said by a list beside them, in their order."""
    names = [name for name in record if "caption" in name and name != "valid_caption"]
    valid = record.get("valid_caption")
    if valid is None:
        valid = [1] * len(names)
    if not isinstance(valid, list) or len(valid) != len(names):
        raise _BadRowError(f"valid_caption is {_brief(valid)}, expected is one 0 or 1 for each of {', '.join(names)}")
    found = []
    for name, there in zip(names, valid, strict=True):
        if there and name.endswith(_SUFFIX) and record[name] is not None:
            kind = name.removesuffix(_SUFFIX)
            if (text := _text(record[name])) != _PLACEHOLDER:
                found.append(Given(text, AUGMENTED.get(kind, kind)))
    return found


def _negatives(value: Any) -> Iterator[Given]:
    """A list of texts or of ``{text, kind, concreteness}``, or an object from kind to text or texts."""
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        value = dict(value)  # Arrow's map type
    if isinstance(value, dict):
        for kind, texts in value.items():
            for text in texts if isinstance(texts, list) else [texts]:
                if text is not None:
                    yield Given(_text(text), _kind(kind))
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                rating = item.get("concreteness")
                known = float(rating) if isinstance(rating, (int, float)) and 0 <= rating <= 1 else None
                kind = item.get("kind")
                yield Given(_text(item.get("text")), GIVEN if kind is None else _kind(kind), known)
            elif item is not None:
                yield Given(_text(item), GIVEN)
    elif value is not None:
        raise _BadRowError(f"negatives is {_brief(value)}, neither a list of {{text, kind}} nor kind to text")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _BadRowError(f"a negative is {_brief(value)}, no text")
    return value


def _kind(value: Any) -> str:
    if not isinstance(value, str) or not _KIND.fullmatch(value):
        raise _BadRowError(f"a negative's kind is {_brief(value)}; it names a slot: letters, digits, '_', '-', '.'")
    return value


def _letters(text: str) -> str:
    """What is left without white space and case: publishers write "." and " ."."""
    return "".join(text.casefold().split())


def _brief(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
