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
_REFERS_BACK = frozenset(("it", "its", "itself", "he", "his", "him", "himself", "she", "her", "hers", "herself"))
_ONE_OF_SEVERAL = frozenset(("another", "other", "others", "one", "each", "both", "and", "or"))


def multiplied(reading: Reading, tables: Tables) -> Iterator[Candidate]:
    """The subject that a caption begins with, where it is one thing and nothing later asks for the singular."""
    things, tokens = reading.things, reading.caption.tokens
    if tables.many_for_one is None or not things or not _is_one(things[0], reading):
        return
    thing = things[0]
    of, numbers = tables.many_for_one
    if thing.head is None or not (thing.head.group in of or thing.head.name in of):
        return
    end = thing.end
    verb = ""
    finite = [at for at, token in enumerate(tokens) if token.tag == "VBZ" or token.text.lower() in _PLURAL_VERBS]
    if finite:
        if finite != [end]:
            return  # another verb would no longer agree
        word = reading.words[end]
        verb = f" {_PLURAL_VERBS.get(word) or lemma(word, 'VBZ')}"
        end += 1
    before = f" {raw(reading.caption, thing.start + 1, thing.end - 1)}" if thing.end - thing.start > 2 else ""
    phrase = f"{before} {plural(reading.words[thing.end - 1])}{verb}"
    choices = tuple(f"{number}{phrase}" for number in numbers)
    tags = tuple(token.tag for token in tokens[thing.start : end])
    yield Candidate("attribute", thing.start, end, tags, choices, choices, last_resort=True)


def _is_one(thing: NounPhrase, reading: Reading) -> bool:
    words, tokens = reading.words, reading.caption.tokens
    if thing.start or thing.plural or thing.determiner not in ("a", "an") or thing.head is None:
        return False
    if thing.head.number != "count" or tokens[thing.end - 1].tag != "NN" or thing.end == len(words):
        return False
    if tokens[thing.end].tag.startswith(("NN", "JJ", "POS", "CD")) or words[thing.end] in ("'s", "of"):
        return False
    if not _REFERS_BACK.isdisjoint(words) or not _ONE_OF_SEVERAL.isdisjoint(words):
        return False
    return not any(are_alike(thing, other) for other in reading.things[1:])
