"""Several for one: "a dog on a couch" becomes "two dogs on a couch", with the noun and its verb in the plural."""

from __future__ import annotations

from collections.abc import Iterator

from lightning_cr.negatives.text.candidates import Candidate
from lightning_cr.negatives.text.inflection import plural
from lightning_cr.negatives.text.lexicon import Tables
from lightning_cr.negatives.text.morphology import lemma
from lightning_cr.negatives.text.reading import NounPhrase, Reading, are_alike
from lightning_cr.negatives.text.rewriting import raw

__all__ = ["multiplied"]

_PLURAL_VERBS = {"is": "are", "was": "were", "has": "have", "does": "do"}
_REFERS_TO_THINGS = frozenset(("it", "its", "itself"))
_REFERS_BACK = _REFERS_TO_THINGS | {"he", "his", "him", "himself", "she", "her", "hers", "herself"}
_ONE_OF_SEVERAL = frozenset(("another", "other", "others", "one", "each", "both", "third"))
_BESIDE = frozenset(("with", "near", "to", "beside", "behind", "by", "and"))
"""What stands before a thing of which there could be two: "near two horses" is said, "riding two horses" is not."""


def multiplied(reading: Reading, tables: Tables) -> Iterator[Candidate]:
    """The things that a caption names one of, where nothing later asks for the singular."""
    if tables.many_for_one is None or not _ONE_OF_SEVERAL.isdisjoint(reading.words):
        return
    of, numbers = tables.many_for_one
    for thing in reading.things:
        if thing.head is None or not (thing.head.group in of or thing.head.name in of) or not _is_one(thing, reading):
            continue
        verb = _plural_verb(thing, reading)
        if verb is None:
            continue
        end = thing.end + bool(verb)
        before = f" {raw(reading.caption, thing.start + 1, thing.end - 1)}" if thing.end - thing.start > 2 else ""
        phrase = f"{before} {plural(reading.words[thing.end - 1])}{verb}"
        choices = tuple(f"{number}{phrase}" for number in numbers)
        tags = tuple(token.tag for token in reading.caption.tokens[thing.start : end])
        yield Candidate("attribute", thing.start, end, tags, choices, choices)


def _is_one(thing: NounPhrase, reading: Reading) -> bool:
    words, tokens = reading.words, reading.caption.tokens
    if thing.plural or thing.determiner not in ("a", "an") or tokens[thing.end - 1].tag != "NN":
        return False
    if thing.head is None or thing.head.number != "count" or thing.end == len(words):
        return False
    if tokens[thing.end].tag.startswith(("NN", "JJ", "POS", "CD")) or words[thing.end] in ("'s", "of"):
        return False
    return not any(other is not thing and are_alike(thing, other) for other in reading.things)


def _plural_verb(thing: NounPhrase, reading: Reading) -> str | None:
    """The verb right behind a thing in the plural; empty for none, None where one elsewhere would no longer agree."""
    words, tokens = reading.words, reading.caption.tokens
    if thing.start:
        follows = words[thing.start - 1] in _BESIDE and words[thing.end] not in ("that", "which", "who", "-")
        singular = tokens[thing.end].tag == "VBZ" or words[thing.end] in _PLURAL_VERBS
        return "" if follows and not singular and _REFERS_TO_THINGS.isdisjoint(words) else None
    finite = [at for at, token in enumerate(tokens) if token.tag == "VBZ" or words[at] in _PLURAL_VERBS]
    if not _REFERS_BACK.isdisjoint(words) or finite not in ([], [thing.end]):
        return None
    word = words[thing.end]
    return f" {_PLURAL_VERBS.get(word) or lemma(word, 'VBZ')}" if finite else ""
