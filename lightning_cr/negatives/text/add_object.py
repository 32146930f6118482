"""Adds a thing that the caption does not name: "a cat on a bed" becomes "a cat and a dog on a bed"."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from lightning_cr.negatives.text.adding import AddingRule, Addition, Offers, entry_of, mixed
from lightning_cr.negatives.text.base import AnnotatedCaption
from lightning_cr.negatives.text.context import CorpusContext
from lightning_cr.negatives.text.fluent import plain_words
from lightning_cr.negatives.text.lexicon import Concept
from lightning_cr.negatives.text.reading import NounPhrase, Reading, read
from lightning_cr.negatives.text.swapping import NOT_THINGS, is_movable

__all__ = ["AddObject"]

_JOINING = frozenset(("IN", "TO", "RP", "RB", "VBG", "VBN"))
_INSIDE_JOINERS = frozenset(("next", "front", "top", "side", "middle", "the"))
_LAST = frozenset(("IN", "TO", "VBG"))
_NO_JOINERS = frozenset(
    word
    for line in (
        "of without not like as than while that if because for from to being having showing looking no so since where",
        "off out up away made called named",
    )
    for word in line.split()
)
"""First words of what stands between two things without joining the second to the first, or not by being there."""

_DETERMINERS = frozenset(("", "a", "an", "the", "some"))
_NEVER = frozenset(("body", "stuff", "animal"))
"""Groups that are never added: what everybody has, and what is too wide to be missing from a picture."""

_PLACES = frozenset(
    word
    for line in (
        "rooms shops buildings streets open_ground areas waters venues terrain slopes skies street_furniture plants",
        "landmarks indoors furniture",
    )
    for word in line.split()
)
"""Groups of what is in the picture whether or not it is worth a word."""

_USUAL = 0.03
"""Share of the captions with a thing from which on another may well be there unsaid ("a bathroom with a sink")."""

_TOGETHER = 1.0
"""How much more often than by chance a place may be named with a thing, before it may well be there unsaid."""

_LONGEST = 4
_LONGEST_JOINER = 4
_CLAUSE = 6
"""Words behind a thing among which its verb is looked for."""

_FEWEST = 5
"""What joins two things more rarely in a corpus may be a slip of the tagger."""

_PRIOR = 20.0
"""Mentions that what follows all things of a sort is worth against what follows a noun."""

_DRAWN = 5


class AddObject(AddingRule):
    """SugarCrepe's add_obj: puts "and a dog", "with a ball" or "near a tree" behind a thing.

    What is added is known to the lexicon, and not named in the caption by whatever word. Without a corpus it is one
    that could stand in the place of the thing; once it has learned from one, it is what such things are followed by
    there ("sitting on a bench", "holding a kite"), but nothing that may be in the picture unsaid: neither what is often
    named with a thing of the caption, nor a place that goes with one. Options: :class:`FluentRule`.
    """

    def __init__(self, *, coverage: float = 0.2) -> None:
        super().__init__(coverage=coverage)
        self._offers: dict[str, Offers[tuple[str, str]]] = {}
        self._usual: set[tuple[str, str]] = set()

    def learn(self, context: CorpusContext, captions: Sequence[AnnotatedCaption]) -> None:
        """See :class:`FluentRule`."""
        nouns: dict[str, Concept] = {}
        joiners: Counter[str] = Counter()
        named: Counter[str] = Counter()
        together: Counter[tuple[str, str]] = Counter()
        found: list[tuple[str, str, str, str]] = []
        for caption in captions:
            reading = read(caption, self.lexicon)
            words = plain_words(reading)
            heads = {thing.head.name: f"[{thing.head.group}]" for thing in reading.things if thing.head}
            levels = list(dict.fromkeys([*heads, *heads.values()]))
            named.update(levels)
            together.update((one, other) for one in levels for other in heads if one not in (other, heads[other]))
            for first, second in pairwise(reading.things):
                if first.head is not None:
                    nouns.setdefault(first.head_word, first.head)
                    joiner = _joiner(first, second, reading)
                    if joiner:
                        joiners[joiner] += 1
                        unit = f"{joiner} {' '.join(words[second.start : second.end])}"
                        found.append((first.head_word, joiner, unit, second.head_word))
        seen: defaultdict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        for noun, joiner, unit, head_word in found:
            if joiners[joiner] >= _FEWEST:
                for level in (noun, f"[{nouns[noun].group}]"):
                    seen[level][unit, head_word] += 1
        self._usual = self._find_usual(named, together, len(captions))
        self._offers = {}
        for noun, concept in nouns.items():
            wide = seen[f"[{concept.group}]"]
            shares = mixed(seen[noun], {one: count for one, count in wide.items() if count > 1}, _PRIOR)
            self._offers[noun] = Offers(
                {one: share for one, share in shares.items() if self._may_be_missing(self._named(one[1]), concept)}
            )
        super().learn(context, captions)

    def additions(self, reading: Reading, rng: random.Random) -> Iterator[Addition]:
        """Some things behind each thing."""
        for thing in reading.things:
            if thing.head is None or thing.head_word in NOT_THINGS or not is_movable(thing, reading):
                continue
            if not self._offers:
                if thing.head.alternatives and _has_room(thing, "and", reading):
                    other = rng.choice(thing.head.alternatives)
                    unit = f"and a {other.name}" if other.number == "count" else f"and {other.name}"
                    if self._is_new(other, reading):
                        yield Addition(thing.end, unit)
                continue
            offers = self._offers.get(thing.head_word)
            for (unit, noun), share in offers.draw(rng, _DRAWN) if offers else ():
                if _has_room(thing, unit, reading) and self._is_new(self._named(noun), reading):
                    yield Addition(thing.end, unit, share)

    def _find_usual(self, named: Counter[str], together: Counter[tuple[str, str]], count: int) -> set[tuple[str, str]]:
        """What may well be there unsaid, by the name or the group of what is there."""
        usual = set()
        for (one, other), times in together.items():
            if times > _USUAL * named[one]:
                usual.add((one, other))
            elif times > _TOGETHER * named[one] * named[other] / count:
                concept = self._named(other)
                if concept is not None and concept.group in _PLACES:
                    usual.add((one, other))
        return usual

    def _named(self, noun: str) -> Concept | None:
        # Looked up anew, since concepts are not the same objects after a worker has read the lexicon again.
        entry = entry_of(noun, self.lexicon.tables)
        return entry.thing if entry else None

    def _is_new(self, head: Concept | None, reading: Reading) -> bool:
        """Whether nothing in the caption is, may be, or usually brings along the thing that is added."""
        if head is None or head.name in reading.names:
            return False
        return all(thing.head is None or self._may_be_missing(head, thing.head) for thing in reading.things)

    def _may_be_missing(self, head: Concept | None, there: Concept) -> bool:
        if head is None or (there.group == head.group and head not in there.alternatives):
            return False
        return (there.name, head.name) not in self._usual and (f"[{there.group}]", head.name) not in self._usual


def _joiner(first: NounPhrase, second: NounPhrase, reading: Reading) -> str:
    """The words that join two things, where they and the second can follow others; or none."""
    words, tokens = reading.words, reading.caption.tokens
    head = second.head
    if head is None or head.group in _NEVER or second.head_word in NOT_THINGS or second.end - second.start > _LONGEST:
        return ""
    if second.determiner not in _DETERMINERS or words[second.end : second.end + 1] in (["of"], ["'s"]):
        return ""
    if not second.determiner and not second.plural and head.number == "count":
        return ""  # "and laptop"
    between = words[first.end : second.start]
    if between == ["and"]:
        return "and"
    if (
        not 0 < len(between) <= _LONGEST_JOINER
        or between[0] in _NO_JOINERS
        or tokens[second.start - 1].tag not in _LAST
    ):
        return ""
    joins = all(
        token.tag in _JOINING or token.text.lower() in _INSIDE_JOINERS for token in tokens[first.end : second.start]
    )
    return " ".join(between) if joins else ""


def _has_room(thing: NounPhrase, unit: str, reading: Reading) -> bool:
    words, tokens = reading.words, reading.caption.tokens
    before = words[thing.start - 1] if thing.start else ""
    behind = words[thing.end] if thing.end < len(words) else ""
    joiner = unit.partition(" ")[0]
    if behind in ("and", "or", ",", joiner) or before in ("and", "or", ",", "between", joiner):
        return False
    if joiner != "and":
        return not (joiner.endswith("ing") and joiner in words)
    # "a cat and a dog is" would not agree
    return not any(token.tag in ("VBZ", "VBP") for token in tokens[thing.end : thing.end + _CLAUSE])
