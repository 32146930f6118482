"""The command ``fill``: a masked language model's words for every place of a file of captions, made once."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from jsonargparse import ArgumentParser, Namespace

from lightning_cr.errors import ConfigError, DataError, suggest
from lightning_cr.fill.model import Device, MaskedModel
from lightning_cr.look.captions import read_captions
from lightning_cr.look.command import add_annotation, add_captions, progress_bar
from lightning_cr.look.table import printable
from lightning_cr.negatives.text import AnnotatedCaption, TextNegatives
from lightning_cr.negatives.text.annotation import AnnotatedCorpus, code_digest
from lightning_cr.negatives.text.candidates import Candidate, Role
from lightning_cr.negatives.text.filling import Filling, Place
from lightning_cr.negatives.text.fills import Fill, Fills, read_about, shards_in, write_fills
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.reading import Reading
from lightning_cr.negatives.text.tagging import Tagger
from lightning_cr.negatives.text.wordnet import WordNet

__all__ = ["HELP", "make_parser", "run"]

HELP = "Fill words into captions by a masked language model, once, for the rule MaskedFill to draw from."
_SHARD = 2000
"""Captions of a file; so many are done again after a kill at most."""
_SHOWN = 5
_MOST_WORDS = 80  # as TextNegatives, which makes no negatives of longer captions
_Parser = TypeVar("_Parser", bound=ArgumentParser)


def make_parser(kind: type[_Parser]) -> _Parser:
    """The command's options.

    Args:
        kind: Class of the parser, which decides how errors are told.
    """
    parser = kind(prog="python -m lightning_cr fill", description=HELP)
    add = parser.add_argument
    add_captions(parser)
    add(
        "--out",
        type=str,
        default="",
        help="Needed: a folder. A run that was stopped goes on there; captions that are filled already are left.",
    )
    add(
        "--model",
        type=str,
        default="distilroberta-base",
        help="A masked language model of transformers': a folder, or a name on the hub that was fetched.",
    )
    add("--roles", type=str, nargs="+", default=list(get_args(Role)), help=f"Of {', '.join(get_args(Role))}.")
    add("--top_k", type=int, default=5, help="Words to keep of each place, the likeliest that pass the guards.")
    add("--depth", type=int, default=200, help="How far down the model's ranking to look for them.")
    add(
        "--unknown",
        action="store_true",
        help="Also replace words that the lexicon does not know, by any word of the same tag, as the paper does: more"
        " negatives, of which some may be true of the picture.",
    )
    add("--wordnet", type=str, default="none", help="Refuse WordNet's synonyms and wider words: nltk, a folder, none.")
    add_annotation(parser)
    add("--batch_size", type=int, default=256, help="Masked captions that the model sees at once.")
    add("--device", type=Device, default="auto", help="auto is a GPU where there is one, in bf16.")
    return parser


def run(options: Namespace) -> None:
    """Carries the command out.

    Args:
        options: As :func:`make_parser` reads them.

    Raises:
        ConfigError: A name or number that cannot be used, or a folder with fills made otherwise.
        DataError: The captions or the model cannot be read, or the fills cannot be written.
    """
    _check(options)
    out = Path(options.out).expanduser()
    texts = list(dict.fromkeys(read_captions(Path(options.captions).expanduser()).texts))
    lexicon = Lexicon(options.lexicon)
    filling = Filling(
        lexicon,
        options.roles,
        Tagger(options.tagger, remember=1),
        unknown=options.unknown,
        wordnet=None if options.wordnet == "none" else WordNet(options.wordnet),
        most=options.top_k,
    )
    model = MaskedModel(options.model, options.device)
    about = _about(options, model, filling)
    _check_folder(out, about)
    with progress_bar("annotating captions", len(texts)) as tell:
        door = TextNegatives(tagger=options.tagger, lexicon=options.lexicon, cache=options.cache)
        corpus = door.annotate(texts, progress=tell)
    with progress_bar("filling captions", len(texts)) as tell:
        before = _fill_all(corpus, texts, out, about, filling, model, options, tell)
    _say(Fills(str(out)), texts, out, before)


def _check(options: Namespace) -> None:
    for name in ("captions", "out"):
        if not options[name]:
            raise ConfigError(
                f"--{name} is missing; run: python -m lightning_cr fill --captions FILE --out FOLDER [--model FOLDER]"
            )
    for name in ("top_k", "depth", "batch_size"):
        if options[name] < 1:
            raise ConfigError(f"--{name} is {options[name]}; it must be 1 or more")
    for role in options.roles:
        if role not in get_args(Role):
            near = suggest(role, get_args(Role))
            raise ConfigError(f"--roles has '{role}'; known are {', '.join(get_args(Role))}.{near}")


def _about(options: Namespace, model: MaskedModel, filling: Filling) -> dict[str, Any]:
    """All that decides what is filled in, besides the captions."""
    lexicon = hashlib.blake2b(filling.lexicon.path.read_bytes(), digest_size=16).hexdigest()
    chosen = {name: options[name] for name in ("model", "top_k", "depth", "unknown", "wordnet", "lexicon")}
    chosen |= {"roles": [role for role in get_args(Role) if role in options.roles]}
    return chosen | {
        "tagger": Tagger(options.tagger).version,
        "weights": model.digest,
        "lexicon file": lexicon,
        "code": [code_digest(sys.modules[part.__module__].__file__) for part in (Candidate, Filling, Lexicon, Reading)],
    }


def _check_folder(out: Path, about: dict[str, Any]) -> None:
    """Refuses to mix what was made in two ways."""
    if out.exists() and not out.is_dir():
        raise DataError(f"--out '{out}' is a file; name a folder")
    for path in shards_in(out):
        found = read_about(path)
        # Of a model the weights count: its folder may be named in several ways, and hold others tomorrow.
        if other := next((name for name in about if name != "model" and found.get(name) != about[name]), None):
            shown = "model" if other == "weights" else other
            raise ConfigError(
                f"--out '{out}' holds fills with {shown} {found.get(shown)}, not {about[shown]}; name another folder,"
                " or delete that one"
            )


def _fill_all(
    corpus: AnnotatedCorpus,
    texts: Sequence[str],
    out: Path,
    about: dict[str, Any],
    filling: Filling,
    model: MaskedModel,
    options: Namespace,
    tell: Callable[[int, int], None],
) -> int:
    """Writes the files that are missing; gives the number of captions that were there."""
    before = 0
    for first in range(0, len(texts), _SHARD):
        part = texts[first : first + _SHARD]
        path = out / f"{_digest(part)}.arrow"
        if path.exists():
            before += len(part)
        else:
            captions = [corpus[index] for index in range(first, first + len(part))]

            def done(share: float, first: int = first, count: int = len(part)) -> None:
                tell(first + int(share * count), len(texts))

            write_fills(path, part, _fill(captions, filling, model, options.depth, options.batch_size, done), about)
        tell(first + len(part), len(texts))
    return before


def _digest(texts: Sequence[str]) -> str:
    return hashlib.blake2b(json.dumps(texts).encode(), digest_size=20).hexdigest()


def _fill(
    captions: Sequence[AnnotatedCaption],
    filling: Filling,
    model: MaskedModel,
    depth: int,
    batch_size: int,
    tell: Callable[[float], None],
) -> list[list[Fill]]:
    """The fills of some captions: all their places are masked one by one, in batches of about equal length."""
    found: list[list[Fill]] = [[] for _ in captions]
    jobs = list(_masked(captions, filling, model.mask))
    jobs.sort(key=lambda job: len(job[2]))
    for start in range(0, len(jobs), batch_size):
        batch = jobs[start : start + batch_size]
        for (row, place, _), words in zip(batch, model.rank([text for *_, text in batch], depth), strict=True):
            if fill := filling.fill(place, words):
                found[row].append(fill)
        tell(min(1.0, (start + batch_size) / len(jobs)))
    return [sorted(fills, key=lambda fill: (fill.start, fill.end, fill.role)) for fills in found]


def _masked(captions: Sequence[AnnotatedCaption], filling: Filling, mask: str) -> Iterator[tuple[int, Place, str]]:
    for row, caption in enumerate(captions):
        if mask in caption.text or len(caption.text.split(maxsplit=_MOST_WORDS)) > _MOST_WORDS:
            continue
        for place in filling.places(caption):
            if text := place.masked(mask):
                yield row, place, text


def _say(fills: Fills, texts: Sequence[str], out: Path, before: int) -> None:
    covered: Counter[str] = Counter()
    shown = 0
    for text in texts:
        found = fills.of(text) or []
        covered.update({fill.role for fill in found})
        if found and shown < _SHOWN:
            fill = found[shown % len(found)]
            words = f"[{text[fill.start : fill.end]} > {', '.join(fill.words)}]"
            print(printable(text[: fill.start] + words + text[fill.end :]))
            shown += 1
    print(f"{len(texts):,} different captions, {before:,} of them filled before; wrote {out}")
    for role in sorted(covered):
        print(f"  {role}: {100 * covered[role] / len(texts):.1f}% of captions")
