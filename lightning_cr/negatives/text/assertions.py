"""What a caption asserts of its things, to see whether a swap asserts anything new.

"A man in a suit in a room" says as much as "a man in a room in a suit"; "a man on a bench in a park" is not "a man on a
park in a bench". The text alone does not tell which thing a relation is said of, so that a swap only counts as false
where it asserts what no reading of the caption does.
"""

from __future__ import annotations

from itertools import pairwise

from lightning_cr.negatives.text.reading import Reading, says_the_same_swapped

__all__ = ["NO_QUALITIES", "OPINIONS", "UNSHOWN", "Assertion", "Assertions"]

UNSHOWN = frozenset(word for line in ("sizes counts skill truth hands level price",) for word in line.split())
"""Groups of qualities that a picture neither shows nor denies of one thing: to say one more of them is no lie."""

NO_QUALITIES = frozenset(
    word
    for line in (
        "other same own different various very few many several next first second last top back front such more most",
        "another single whole entire half main certain particular similar lot couple close full up off down one",
    )
    for word in line.split()
)
"""Words before a noun that do not say what the thing is like."""

OPINIONS = frozenset(
    word
    for line in (
        "good nice great big little new large small huge tiny beautiful interesting unique special pretty cute lovely",
        "adorable delicious tasty yummy ugly gorgeous cool fancy favorite perfect funny strange odd weird",
    )
    for word in line.split()
)
"""Words that a picture neither shows nor denies; to swap them is one thing, to add one another."""

Assertion = tuple[str, str, str]
"""Of a thing, what, of which other thing (or none: "a woman watches")."""

_VERBS = frozenset(("VBZ", "VBP", "VBG", "VBD", "VBN"))
_JOINS = frozenset((",", ".", ";", ":", "and", "or", "while", "as", "but", "where", "when"))
_VAGUE = frozenset(("other", "same", "own", "different", "various", "some", "very", "few", "many", "several", "such"))
_RIDES = frozenset(("ride", "rides", "riding", "rode"))
_LISTS = frozenset((",", "and", "or"))
_AUXILIARIES = frozenset(("is", "are", "was", "were", "has", "have"))


class Assertions:
    """The relations and actions of a caption's things.

    Args:
        reading: The caption.
        symmetric: Relations that say the same both ways; they assert nothing here.
    """

    def __init__(self, reading: Reading, symmetric: frozenset[str]) -> None:
        words, things = reading.words, reading.things
        self.names = [thing.head.name if thing.head else thing.head_word for thing in things]
        self._qualities = [{word for word in thing.modifiers if word not in _VAGUE} for thing in things]
        self._relations: list[tuple[int, str, int]] = []
        self._earlier: list[int] = []
        """For each thing the first of its clause: what is said of it may be meant of any since."""
        self._company: list[int] = []
        """For each thing the first that is listed with it ("a shirt and a skirt")."""
        # "riding a wave on a surfboard", "riding a surfboard on a wave"
        self._ridden = {
            (at, at + 1)
            for at, (first, second) in enumerate(pairwise(things))
            if first.start
            and words[first.start - 1] in _RIDES
            and words[first.end : second.start][:1] in (["on"], ["with"])
        }
        for at, thing in enumerate(things):
            last = at - 1
            between = words[things[last].end : thing.start] if at else []
            listed = 0 < len(between) == sum(word in _LISTS for word in between)
            parted = not listed and any(word in _JOINS for word in between)
            self._company.append(self._company[last] if listed else at)
            self._earlier.append(at if parted or not at else self._earlier[last])
            if at and not says_the_same_swapped(things[last], thing, reading, symmetric):
                self._relations.append((last, " ".join(between), at))
            elif parted:
                self._acts(last, reading)
        if things:
            self._acts(len(things) - 1, reading)

    def _acts(self, at: int, reading: Reading) -> None:
        """A verb behind a thing, before the next clause."""
        begin, words = reading.things[at].end, reading.words
        if begin < len(words) and reading.caption.tokens[begin].tag in _VERBS and words[begin] not in _AUXILIARIES:
            self._relations.append((at, words[begin], -1))

    def swap_is_false(self, one: int, other: int) -> bool:
        """Whether the caption, with the names of two things swapped, says something that it does not say now.

        Args:
            one: Index of a thing.
            other: Of one behind it.
        """
        if self.names[one] == self.names[other] or (one, other) in self._ridden:
            return False
        taking_part = {at for subject, _, thing in self._relations for at in (subject, thing)}
        # A thing that is only named beside another ("a cat on a bed and a dog") may share what is said of that.
        if one not in taking_part or other not in taking_part:
            return False
        names = list(self.names)
        names[one], names[other] = names[other], names[one]
        said = {
            (self.names[subject], what, name)
            for last, what, thing in self._relations
            for subject in self._subjects(last)
            for name in self._listed_with(thing)
        }
        # Nor does it count where what is said anew may be meant of a thing of which it was said before.
        return any(
            all(
                (names[subject], what, names[thing] if thing >= 0 else "") not in said
                for subject in self._subjects(last)
            )
            for last, what, thing in self._relations
        )

    def describes(self, one: int, other: int) -> bool:
        """Whether words before the nouns say what the things are like, so that nouns that leave them behind lie."""
        return self.names[one] != self.names[other] and self._qualities[one] != self._qualities[other]

    def _subjects(self, last: int) -> range:
        """Of which things it may be said what stands behind one."""
        return range(self._earlier[last], last + 1)

    def _listed_with(self, thing: int) -> list[str]:
        if thing < 0:
            return [""]
        return [name for name, first in zip(self.names, self._company, strict=True) if first == self._company[thing]]
