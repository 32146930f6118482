"""The command ``order``: freezes the shuffles that AroOrder reads, which else would depend on versions of taggers."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentParser, Namespace

from lightning_cr import __version__
from lightning_cr.errors import ConfigError, DataError
from lightning_cr.files import reason, whole_file
from lightning_cr.look.captions import read_captions
from lightning_cr.look.command import add_captions, progress_bar
from lightning_cr.negatives.text.annotation import code_digest
from lightning_cr.negatives.text.shuffle_words import word_order
from lightning_cr.negatives.text.tagging import Tagger
from lightning_cr.order.shuffles import ORDERS, Style, shuffled

__all__ = ["HELP", "make_parser", "run"]

HELP = "Write the shuffled captions of ARO's order tests to a file, once."
_Parser = TypeVar("_Parser", bound=ArgumentParser)


def make_parser(kind: type[_Parser]) -> _Parser:
    """The command's options.

    Args:
        kind: Class of the parser, which decides how errors are told.
    """
    parser = kind(prog="python -m lightning_cr order", description=HELP)
    add = parser.add_argument
    add_captions(parser)
    add("--split", type=str, default="test", help="Of Karpathy's dataset_*.json, whose pictures to take.")
    add("--out", type=str, default="", help="Needed: the file to write, for AroOrder's annotations.")
    add("--seed", type=int, default=0, help="The same seed gives the same file, byte for byte.")
    add(
        "--style",
        type=Style,
        default="aro",
        help="aro: as the authors write them, comparable with papers; clean: true and shuffled captions are written"
        " alike, and a shuffle is never the caption itself.",
    )
    add("--tagger", type=str, default="pattern", help="pattern (needs no data), nltk, spacy (the authors'), spacy:M.")
    return parser


def run(options: Namespace) -> None:
    """Carries the command out.

    Raises:
        ConfigError: An option is missing, or an unknown tagger.
        DataError: The captions cannot be read, have no pictures, or the file cannot be written.
    """
    for name in ("captions", "out"):
        if not options[name]:
            raise ConfigError(
                f"--{name} is missing; run: python -m lightning_cr order --captions coco_karpathy_test.json --out"
                " coco_order.json"
            )
    source, out = Path(options.captions).expanduser(), Path(options.out).expanduser()
    tagger = Tagger(options.tagger, remember=1)
    captions = read_captions(source, options.split)
    if any(image is None for image in captions.images):
        raise DataError(
            f"--captions {source} has captions without a picture; give Karpathy's JSON or COCO's, or a list of"
            ' {"image", "caption": [...]}'
        )
    rows, identical, lacking = [], Counter[str](), Counter[str]()
    repeated = empty = 0
    with progress_bar("shuffling captions", len(captions.texts)) as tell:
        for done, (image, text) in enumerate(zip(captions.images, captions.texts, strict=True), 1):
            true, made = shuffled(text, options.style, tagger, options.seed)
            if not true:
                empty += 1
                continue
            rows.append({"image": image, "caption": true, "shuffles": made})
            identical.update(mode for mode, other in zip(ORDERS, made, strict=True) if other == true)
            lacking.update(mode for mode, other in zip(ORDERS, made, strict=True) if other is None)
            repeated += true in made
            if done % 256 == 0 or done == len(captions.texts):
                tell(done, len(captions.texts))
    about = {
        "seed": options.seed,
        "style": options.style,
        "orders": ORDERS,
        "identical": {mode: identical[mode] for mode in ORDERS},
        "no other order": {mode: lacking[mode] for mode in ORDERS},
        "captions": {"file": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()},
        "tagger": tagger.version,
        "versions": {"lightning_cr": __version__, "python": platform.python_version()},
        "code": [code_digest(sys.modules[part.__module__].__file__) for part in (Tagger, word_order, shuffled)],
    }
    _write(out, about, rows)
    pictures = len({row["image"] for row in rows})
    print(f"{len(rows):,} captions of {pictures:,} pictures, style {options.style}, seed {options.seed}; wrote {out}")
    if problems := captions.problems + Counter({"left out: no word": empty} if empty else {}):
        print(f"unusual captions: {', '.join(f'{count:,} {what}' for what, count in problems.items())}")
    for mode in ORDERS:
        print(f"  {mode}: {_share(identical[mode], rows)} the caption itself, {_share(lacking[mode], rows)} none")
    if repeated:
        print(f"  any of them is the caption itself: {_share(repeated, rows)}, which drop_identical leaves out")


def _share(count: int, rows: Sequence[Any]) -> str:
    return f"{count:,} ({100 * count / max(1, len(rows)):.1f}%)"


def _lines(about: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A JSON object with a row on each line."""
    yield f'{{"about": {json.dumps(about)},\n"rows": [\n'
    for number, row in enumerate(rows, 1):
        yield json.dumps(row) + (",\n" if number < len(rows) else "\n]}\n")


def _write(out: Path, about: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        raise DataError("no caption has a word; there is nothing to shuffle")
    try:
        with whole_file(out) as file:
            file.writelines(line.encode() for line in _lines(about, rows))
    except OSError as error:
        raise DataError(f"--out '{out}' cannot be written ({reason(error)}); name another file") from error
