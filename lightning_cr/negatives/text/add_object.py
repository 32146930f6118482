"""Adds a thing that the caption does not name: "a cat on a bed" becomes "a cat and a dog on a bed"."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator, Sequence
from functools import cache, partial
from itertools import pairwise

from lightning_cr.negatives.text.adding import AddingRule, Place, entry_of
from lightning_cr.negatives.text.base import AnnotatedCaption
from lightning_cr.negatives.text.context import CorpusContext
from lightning_cr.negatives.text.fluent import plain_words
from lightning_cr.negatives.text.lengths import Addition
from lightning_cr.negatives.text.lexicon import Concept
from lightning_cr.negatives.text.offers import Offers, mixed
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

_LISTS = frozenset(("and", "or", ","))
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

_TOGETHER = {True: 1.0, False: 4.0}
"""How much more often than by chance a place, and anything else, may be named with a thing, before it may well be there
unsaid."""

_LONGEST = 4
_LONGEST_JOINER = 4
_CLAUSE = 6
"""Words behind a thing among which its verb is looked for."""

_FEWEST = 5
"""What joins two things more rarely in a corpus may be a slip of the tagger."""

_PRIOR = 20.0
"""Mentions that what follows all things of a sort is worth against what follows a noun."""


class AddObject(AddingRule):
    """SugarCrepe's add_obj: puts "and a dog", "with a ball" or "near a tree" behind a thing.

    What is added is known to the lexicon, and not named in the caption by whatever word. Without a corpus it is one
    that could stand in the place of the thing; once it has learned from one, it is what such things are followed by
    there ("sitting on a bench", "holding a kite"), but nothing that may be in the picture unsaid: neither what is often
    named with a thing of the caption, nor a place that goes with one. Options: :class:`FluentRule`.
    """

    settled = True

    def __init__(self, *, coverage: float = 0.2) -> None:
        super().__init__(coverage=coverage)
        self._usual: dict[str, set[str]] = {}

    def learn(self, context: CorpusContext, captions: Sequence[AnnotatedCaption]) -> None:
        """See :class:`FluentRule`."""
        nouns: dict[str, NounPhrase] = {}
        groups: dict[str, str] = {}
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
            groups.update((thing.head.name, thing.head.group) for thing in reading.things if thing.head)
            together.update((one, other) for one in levels for other in heads if one not in (other, heads[other]))
            for first, second in pairwise(reading.things):
                if first.head is not None:
                    nouns.setdefault(first.head_word, first)
                    joiner = _joiner(first, second, reading)
                    if joiner:
                        joiners[joiner] += 1
                        unit = f"{joiner} {' '.join(words[second.start : second.end])}"
                        found.append((first.head_word, joiner, unit, second.head_word))
        seen: defaultdict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        for noun, joiner, unit, head_word in found:
            if joiners[joiner] >= _FEWEST:
                for level in (noun, _sort(nouns[noun])):
                    seen[level][unit, head_word] += 1
        self._usual = {}
        for (one, other), times in together.items():
            often = _TOGETHER[groups[other] in _PLACES] * named[one] * named[other] / len(captions)
            if times > min(_USUAL * named[one], max(1, often)):
                self._usual.setdefault(one, set()).add(other)
        self._offers = {}
        for noun, thing in nouns.items():
            wide = {one: count for one, count in seen[_sort(thing)].items() if count > 1}
            missing = self._missing([thing])
            self._offers[noun] = Offers(
                {one: share for one, share in mixed(seen[noun], wide, _PRIOR).items() if missing(one[1])}
            )
        super().learn(context, captions)

    def places(self, reading: Reading) -> Iterator[Place]:
        """Behind each thing."""
        missing = self._missing(reading.things, reading.names)
        for thing, fits in _followed(reading):
            offers = self._offers.get(thing.head_word)
            if offers is not None:
                yield thing.end, offers, partial(_admits, fits, missing)

    def unlearned(self, reading: Reading, rng: random.Random) -> Iterator[Addition]:
        """A thing behind each thing."""
        missing = self._missing(reading.things, reading.names)
        for thing, fits in _followed(reading):
            if thing.head is not None and thing.head.alternatives and fits("and"):
                other = rng.choice(thing.head.alternatives)
                unit = f"and a {other.name}" if other.number == "count" else f"and {other.name}"
                if missing(other.name):
                    yield Addition(thing.end, unit)

    def _missing(self, things: Sequence[NounPhrase], named: Container[str] = ()) -> Callable[[str], bool]:
        """Tells whether no thing of a caption is, may be, or usually brings along the thing that a noun names."""
        tables = self.lexicon.tables
        usual = self._usual.get
        heads: dict[str, list[Concept]] = {}
        brought: list[set[str]] = []
        for thing in things:
            if thing.head is not None:
                heads.setdefault(thing.head.group, []).append(thing.head)
                brought += [found for found in (usual(thing.head.name), usual(f"[{thing.head.group}]")) if found]

        @cache
        def missing(noun: str) -> bool:
            # Looked up anew, since concepts are not the same objects after a worker has read the lexicon again.
            entry = entry_of(noun, tables)
            head = entry.thing if entry else None
            if head is None or head.name in named:
                return False
            name = head.name
            if any([head not in there.alternatives for there in heads.get(head.group, ())]):
                return False
            return not any([name in found for found in brought])

        return missing


def _admits(fits: Callable[[str], bool], missing: Callable[[str], bool], choice: tuple[str, str]) -> bool:
    unit, noun = choice
    return fits(unit.partition(" ")[0]) and missing(noun)


def _sort(thing: NounPhrase) -> str:
    """Things that the same may follow: "boys" are not "wearing a hat"."""
    return f"[{thing.head.group if thing.head else ''}{' s' if thing.plural else ''}]"


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


def _followed(reading: Reading) -> Iterator[tuple[NounPhrase, Callable[[str], bool]]]:
    """The things behind which something can be put; see :func:`_room`."""
    for thing in reading.things:
        if thing.head is not None and thing.head_word not in NOT_THINGS and is_movable(thing, reading):
            fits = _room(thing, reading)
            if fits is not None:
                yield thing, fits


def _room(thing: NounPhrase, reading: Reading) -> Callable[[str], bool] | None:
    """Tells by its first word whether something can be put behind a thing; None if nothing can."""
    words, tokens = reading.words, reading.caption.tokens
    before = words[thing.start - 1] if thing.start else ""
    behind = words[thing.end] if thing.end < len(words) else ""
    if behind in _LISTS or before in _LISTS or before == "between":
        return None
    # "a cat and a dog is" would not agree
    agrees = not any([token.tag in ("VBZ", "VBP") for token in tokens[thing.end : thing.end + _CLAUSE]])
    acts = behind.endswith("ing")  # "sitting on a bed walking"

    @cache
    def fits(joiner: str) -> bool:
        if joiner == "and":
            return agrees
        if joiner in (behind, before):
            return False
        return not (joiner.endswith("ing") and (acts or joiner in words))

    return fits
