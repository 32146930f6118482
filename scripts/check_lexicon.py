"""Checks a lexicon file: one line for each finding, exit status 1 if there is any.

    python scripts/check_lexicon.py [FILE] [--wordnet nltk|FOLDER|none] [--captions coco_karpathy_test.json]

* said twice: a section, a group, a word in a group, a thing in two groups;
* empty: a group, or a rule with nothing to put in;
* unknown: a name in overlaps or limits that is no first name, group or kind;
* by WordNet, where it is there: two words that may replace each other are synonyms, or one is the wider one. Then
  join them (``couch = sofa``), or say in ``overlaps`` that both may be true.

With ``--captions`` the rules make their negatives, with and without the corpus, and with WordNet's words for nouns that
the lexicon does not know; WordNet judges what they put in.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations, product
from pathlib import Path

import yaml

from lightning_cr.errors import DataError, LightningCRError
from lightning_cr.negatives.text import (
    AnnotatedCaption,
    ConcretePlant,
    Negative,
    ReplaceAttribute,
    ReplaceObject,
    ReplaceRelation,
    TextNegatives,
)
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.tagging import Tagger
from lightning_cr.negatives.text.wordnet import Pos, WordNet

RULES = {"object": ReplaceObject, "attribute": ReplaceAttribute, "relation": ReplaceRelation, "plant": ConcretePlant}
OVERLAPS = {"objects": "overlaps", "attributes": "attribute_overlaps"}
MANNERS = ("prepositions", "phrases", "transitive", "intransitive")
DEBIAN = "/usr/share/wordnet"
Finding = tuple[int, str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", help="a YAML file, or the name of one that comes with the package")
    parser.add_argument("--wordnet", help=f"where it is; if not given, NLTK's or {DEBIAN}, whichever is there")
    parser.add_argument("--captions", type=Path, help='a JSON list of {"image", "caption": [...]}')
    given = parser.parse_args()
    try:
        lexicon = Lexicon(given.file)
        wordnet = find_wordnet(given.wordnet)
        findings = check(lexicon, wordnet)
    except LightningCRError as error:
        print(error, file=sys.stderr)
        return 1
    for line, text in findings:
        print(f"{lexicon.path}:{line}: {text}")
    wrong = 0
    if given.captions and wordnet is not None:
        wrong = measure(given.captions, given.file, wordnet)
    return 1 if findings or wrong else 0


def find_wordnet(source: str | None) -> WordNet | None:
    """WordNet where it was named, or where it usually is; without it the other checks still run."""
    if source == "none":
        return None
    if source is not None:
        return WordNet(source)
    for usual in ("nltk", DEBIAN):
        try:
            return WordNet(usual)
        except DataError as error:
            missing = error
    print(f"not checked by WordNet: {missing}", file=sys.stderr)
    return None


def check(lexicon: Lexicon, wordnet: WordNet | None = None) -> list[Finding]:
    """All findings in a file, by line.

    Raises:
        DataError: It is not YAML, or is not laid out as a lexicon in a way that no finding names.
    """
    try:
        text = lexicon.path.read_text(encoding="utf-8")
        root = yaml.compose(text, yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{lexicon.path} cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(root, yaml.MappingNode):
        raise DataError(f"{lexicon.path} is not a lexicon: it must hold sections such as 'objects'; see lexicon.yaml")
    found = sorted({*_check_keys(root), *_check_words(root), *_check_names(root)})
    if not found:
        _ = lexicon.tables  # what is wrong and has no finding of its own has at least its error
        if wordnet is not None:
            meant = (_check_meanings, _check_compounds, _check_verbs)
            found = sorted({finding for look in meant for finding in look(root, wordnet)})
    return found


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _items(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _get(node: yaml.Node | None, name: str) -> yaml.Node | None:
    return next((value for key, value in _items(node) if key.value == name), None)


def _words(node: yaml.Node | None) -> list[yaml.ScalarNode]:
    return [item for item in node.value if item.value] if isinstance(node, yaml.SequenceNode) else []


def _groups(root: yaml.Node, section: str) -> Iterator[tuple[yaml.Node, list[yaml.ScalarNode]]]:
    for key, content in _items(_get(root, section)):
        yield key, _words(_get(content, "words") if isinstance(content, yaml.MappingNode) else content)


def _names(item: yaml.ScalarNode) -> list[str]:
    """All its names; with a hyphen before it, one that is read but never put in."""
    return [name.strip().removeprefix("-") for name in item.value.split(" = ")]


def _rules(root: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    for manner in MANNERS:
        node = _get(root, manner)
        yield from ((manner, rule) for rule in (node.value if isinstance(node, yaml.SequenceNode) else []))


def _check_keys(node: yaml.Node) -> Iterator[Finding]:
    """Keys said twice, of which YAML silently keeps the last."""
    lines: dict[str, int] = {}
    for key, value in _items(node):
        if key.value in lines:
            yield _line(key), f"'{key.value}' is said twice, first in line {lines[key.value]}; join the two"
        lines.setdefault(key.value, _line(key))
        yield from _check_keys(value)


def _check_words(root: yaml.Node) -> Iterator[Finding]:
    """Empty groups, and words said twice."""
    for section in ("objects", "attributes", "compounds"):
        places: dict[str, tuple[str, int]] = {}
        for key, items in _groups(root, section):
            if not items:
                yield _line(key), f"the group '{key.value}' of '{section}' is empty; give it words or delete it"
            if section != "objects":
                places = {}  # "old" is said of people and of things, which replace it differently
            for item in items:
                for name in _names(item):
                    group, line = places.setdefault(name, (key.value, _line(item)))
                    if (group, line) != (key.value, _line(item)) or _names(item).count(name) > 1:
                        yield _line(item), f"'{name}' is in '{key.value}' and in '{group}' (line {line}); keep one"
                    elif sum(name in _names(other) for other in items) > 1:
                        yield _line(item), f"'{name}' is twice in '{key.value}'; keep one"
    for key, value in _items(_get(root, "kinds")):
        if not _words(value):
            yield _line(key), f"the kind '{key.value}' is empty; give it groups or delete it"
    for manner, rule in _rules(root):
        for part in ("words", "instead"):
            if not _words(_get(rule, part)):
                yield _line(rule), f"a rule of '{manner}' has no '{part}'; give it some or delete it"


def _check_names(root: yaml.Node) -> Iterator[Finding]:
    """Names in overlaps and limits that nothing has."""
    for section, overlaps in OVERLAPS.items():
        first = {
            name: _names(item)[0] for _, items in _groups(root, section) for item in items for name in _names(item)
        }
        for key, value in _items(_get(root, overlaps)):
            for node in (key, *_words(value)):
                if first.get(node.value) is None:
                    yield _line(node), f"'{overlaps}' has '{node.value}', which is not in '{section}'"
                elif node.value not in first.values():
                    yield _line(node), f"'{overlaps}' has '{node.value}'; its first name is '{first[node.value]}'"
    kinds = {key.value for section in ("kinds", "nouns") for key, _ in _items(_get(root, section))}
    groups = list(_groups(root, "objects"))
    known = kinds | {key.value for key, _ in groups} | {_names(item)[0] for _, items in groups for item in items}
    limited = [value for _, value in _items(_get(root, "attributes"))] + [rule for _, rule in _rules(root)]
    for node in limited:
        for part in ("of", "not_of", "before", "subject"):
            for name in _words(_get(node, part)):
                if name.value not in known:
                    yield _line(name), f"'{part}' has '{name.value}', which is no kind, group or first name of a thing"


def _check_meanings(root: yaml.Node, wordnet: WordNet) -> Iterator[Finding]:
    """Things and qualities that may replace each other although WordNet says that both may be true."""
    for section, overlaps in OVERLAPS.items():
        apart = {
            frozenset((key.value, other.value))
            for key, value in _items(_get(root, overlaps))
            for other in _words(value)
        }
        for key, items in _groups(root, section):
            for one, other in combinations(items, 2):
                a, b = _names(one), _names(other)
                if frozenset((a[0], b[0])) in apart:
                    continue
                related = [(x, y, how) for x in a for y in b if (how := relation(x, y, section, wordnet))]
                if related:
                    x, y, how = related[0]
                    joined = f"write '{a[0]} = {b[0]}', or " if "synonyms" in how else ""
                    advice = f"{joined}add to {overlaps} '{a[0]}: [{b[0]}]'"
                    yield _line(other), f"'{x}' and '{y}' of '{key.value}' {how}; {advice}"


def _check_compounds(root: yaml.Node, wordnet: WordNet) -> Iterator[Finding]:
    for key, items in _groups(root, "compounds"):
        head = key.value.split(" = ")[0]
        for one, other in combinations(items, 2):
            for x, y in product(_names(one), _names(other)):
                if how := relation(f"{x} {head}", f"{y} {head}", "objects", wordnet):
                    yield (
                        _line(other),
                        f"'{x} {head}' and '{y} {head}' {how}; write '{x} = {y}' or take one of them out",
                    )


def _check_verbs(root: yaml.Node, wordnet: WordNet) -> Iterator[Finding]:
    for manner, rule in _rules(root):
        inflected = manner in ("transitive", "intransitive")
        for word, other in product(_words(_get(rule, "words")), _words(_get(rule, "instead"))):
            # Among the prepositions are verbs as they stand ("parked", "driving"); WordNet has no prepositions.
            judged = inflected or all(one.value.endswith(("ing", "ed")) for one in (word, other))
            if judged and (how := relation(word.value, other.value, "actions", wordnet)):
                yield _line(word), f"'{word.value}' and '{other.value}' of '{manner}' {how}; take one of them out"


def relation(a: str, b: str, section: str, wordnet: WordNet) -> str:
    """What WordNet says against putting one word in the place of another, or nothing."""
    parts: dict[str, tuple[Pos, ...]] = {"objects": ("n",), "attributes": ("a", "n"), "actions": ("v",)}
    for pos in parts[section]:
        # A quality may be named by a noun ("brick", "tennis"), but the head of its compound is then not its kind.
        if section == "attributes" and not (wordnet.knows(a, pos) and wordnet.knows(b, pos)):
            continue
        if wordnet.are_synonyms(a, b, pos):
            return "are synonyms"
        if wordnet.is_hypernym(a, b, pos):
            return "are a wider word and a narrower one"
    return ""


def measure(captions: Path, lexicon: str | None, wordnet: WordNet) -> int:
    """Counts synonyms and hypernyms among what the rules put in."""
    tagger = Tagger(remember=1)
    corpus = [tagger(text.strip()) for row in json.loads(captions.read_text()) for text in row["caption"]]
    compounds = Lexicon(lexicon).tables.compounds
    wrong = 0
    for name, rule in RULES.items():
        ways = {"drawn evenly": "none", "learned": "none"}
        if name in ("object", "plant"):  # which take WordNet's words too
            ways["learned, with WordNet"] = wordnet.source
        for way, source in ways.items():
            door = TextNegatives(rules={name: rule()}, lexicon=lexicon, context="corpus", wordnet=source)
            if way != "drawn evenly":
                door.learn(corpus)
            pairs: Counter[tuple[str, str, str]] = Counter()
            for number, caption in enumerate(corpus):
                negative = door(caption, random.Random(number))[0]
                if negative is not None:
                    pairs[_put_in(negative, caption, name, compounds)] += 1
            related = {pair: how for pair in pairs if pair[2] and (how := relation(*pair, wordnet))}
            count = sum(pairs[pair] for pair in related)
            print(f"{name}, {way}: {pairs.total()} negatives, {len(pairs)} pairs of words, {count} negatives wrong")
            for pair in sorted(related, key=lambda pair: -pairs[pair]):
                print(f"  '{pair[0]}' > '{pair[1]}' {related[pair]} ({pairs[pair]})")
            wrong += count
    return wrong


def _put_in(
    negative: Negative, caption: AnnotatedCaption, rule: str, compounds: Mapping[str, Mapping[str, object]]
) -> tuple[str, str, str]:
    """What was replaced by what, and as which section WordNet is to judge it."""
    old, new = negative.original.lower(), negative.replacement.lower()
    # The span begins earlier where an article had to follow.
    at = caption.text.find(negative.original, negative.start)
    tokens = [token for token in caption.tokens if token.start >= at]
    tags = [token.tag for token in tokens if token.start < at + len(old)]
    head = tokens[len(tags)].text.lower() if len(tokens) > len(tags) else ""
    if old in compounds.get(head, {}):
        return f"{old} {head}", f"{new} {head}", "objects"
    if rule in ("object", "attribute"):
        return old, new, f"{rule}s"
    if tags and tags[0].startswith("VB"):
        return old, new, "actions"  # WordNet has no prepositions
    if rule == "plant" and tags and tags[-1].startswith(("NN", "JJ")):
        return old, new, "objects" if tags[-1].startswith("NN") else "attributes"
    return old, new, ""


if __name__ == "__main__":
    sys.exit(main())
