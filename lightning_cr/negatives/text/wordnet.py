"""WordNet, read through NLTK: which words mean the same, which is the wider one, and what else there is of a kind.

Nothing here is chosen by what is installed: the corpus is named, and where it is missing an error says how to get it.
"""

from __future__ import annotations

import io
import os
import warnings
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lightning_cr.errors import ConfigError, DataError
from lightning_cr.negatives.text.inflection import plural as plural_of
from lightning_cr.negatives.text.morphology import lemma

__all__ = ["WordNet"]

Pos = Literal["n", "v", "a"]

_GET = (
    "run: python -m nltk.downloader wordnet (source 'nltk'), or on Debian: apt-get install wordnet-base"
    " wordnet-sense-index (source '/usr/share/wordnet')"
)

# What the file 'lexnames' of WordNet 3.0 says, which Debian leaves out: the topics of its sections in order.
_TOPICS = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition"
    " noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object"
    " noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape"
    " noun.state noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition"
    " verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession"
    " verb.social verb.stative verb.weather adj.ppl"
)
_PARTS = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}

_UNSEEN = frozenset(
    (
        *("noun.cognition", "noun.event", "noun.feeling", "noun.motive", "noun.possession"),
        *("noun.process", "noun.quantity", "noun.relation", "noun.state", "noun.time"),
    )
)
"""Topics that no picture shows: "lettuce" is first of all money to WordNet."""

_THINGS = frozenset(("noun.animal", "noun.artifact", "noun.plant"))
"""Topics whose members exclude each other and are counted; a "singer" may well be a "father"."""

_BROAD = 5
"""Depth of "structure": what only shares that, as a porch and a tower do, is not of a kind."""

_KINDS = 8
"""With more kinds of its own a word is too wide to exclude anything: "tool", "decoration"."""

_NOT_MEANT = {
    "bat": "squash_racket.n.01",
    "bus": "bus.n.04",  # an old car
    "carriage": "passenger_car.n.01",  # of a train
    "catch": "get.v.19",  # to hit
    "couch": "couch.n.03",  # a patient's bed
    "fireman": "reliever.n.03",  # a pitcher who comes on late
    "groom": "stableman.n.01",
    "hog": "hog.n.02",  # a yearling sheep
    "jog": "square_up.v.02",  # to jog papers
    "mannequin": "mannequin.n.01",  # who shows clothes; in captions it is the doll
    "monkey": "imp.n.02",  # a naughty child
    "move": "move.v.02",  # to make move, of which to park is a kind
    "paw": "hand.n.01",  # slang
    "perch": "perch.v.03",  # to put somewhere
    "pull": "pull.v.03",  # to pull into a station
    "redheaded": "redheaded.s.01",  # gathered around "blond"
    "tractor": "tractor.n.02",  # of an articulated lorry
    "trot": "trot.v.03",  # to make trot
    "van": "van.n.03",  # of a train
}
"""Senses that rank high and that a caption does not mean."""


class _Meaning(NamedTuple):
    name: str
    wider: frozenset[str]


class WordNet:
    """Synonyms, hypernyms and co-hyponyms of words.

    A word stands for its **most frequent senses** alone: the first three that WordNet lists (it lists by frequency) of
    those that can be seen, proper names aside. All senses would relate words by what captions do not mean (lettuce,
    bread and cabbage are all money), the first alone too few ("cake" is first of all a block of soap, "van" the head of
    a movement). Some senses that rank that high and that captions do not mean are left out by name.

    A compound that WordNet knows neither in two words nor in one is a kind of its head: "coffee maker" of "maker".
    Answers are remembered; a pickled copy, as in a spawned worker, reads the corpus again at its first question.

    Args:
        source: ``nltk`` (the corpus where NLTK keeps it), or a folder with WordNet's files. The folder is added to
            ``nltk.data.path``, without which NLTK refuses to open it; ``lexnames``, which Debian leaves out, is not
            needed.
        senses: How many senses of a word count; None for all.

    Raises:
        DataError: The corpus is not there.
        ConfigError: ``senses`` is below 1.
    """

    def __init__(self, source: str = "nltk", *, senses: int | None = 3) -> None:
        if senses is not None and senses < 1:
            raise ConfigError(f"senses is {senses}; it must be 1 or more, such as 3, or None for all")
        self.source = source
        self.senses = senses
        self._path = _find(source)
        self._meanings = lru_cache(None)(self._find_meanings)
        self._co_hyponyms = lru_cache(None)(self._find_co_hyponyms)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.source, self.senses)

    def knows(self, word: str, pos: Pos) -> bool:
        """Whether it has an entry of its own.

        Args:
            word: A word or compound in any form.
            pos: ``n``, ``v`` or ``a``.
        """
        return bool(self._synsets(word, pos))

    def are_synonyms(self, a: str, b: str, pos: Pos) -> bool:
        """Whether two words share one of their most frequent senses.

        Args:
            a: A word or compound in any form.
            b: Another one.
            pos: ``n``, ``v`` or ``a``.
        """
        names = {meaning.name for meaning in self._meanings(b.lower(), pos)}
        return any(meaning.name in names for meaning in self._meanings(a.lower(), pos))

    def is_hypernym(self, a: str, b: str, pos: Pos) -> bool:
        """Whether one of two words is the wider one, at any depth, whichever comes first.

        Of adjectives, the wider one is that which WordNet gathers others around: "large" of "huge".

        Args:
            a: A word or compound in any form.
            b: Another one.
            pos: ``n``, ``v`` or ``a``.
        """
        ours, theirs = self._meanings(a.lower(), pos), self._meanings(b.lower(), pos)
        return any(one.name in other.wider or other.name in one.wider for one in ours for other in theirs)

    def co_hyponyms(self, word: str, pos: Pos = "n") -> tuple[str, ...]:
        """What else there is of a word's kind: "squirrel" for "chipmunk".

        Only where both words nearly always mean just that (two thirds of WordNet's counted uses, or the only sense) and
        are narrow enough to exclude each other; of animals, plants and things made alone; no word that WordNet's texts
        do not use, no proper name, and nothing that is a synonym or hypernym of the word in any of its senses.

        Args:
            word: Its base form.
            pos: ``n``; of other words there are none.

        Returns:
            Base forms in alphabetical order.
        """
        return self._co_hyponyms(word.lower()) if pos == "n" else ()

    def alternatives(self, noun: str, plural: bool) -> tuple[str, ...]:
        """What may be put in for a noun that the curated lexicon does not know, inflected as it.

        Args:
            noun: As it stands in the caption.
            plural: Whether that is a plural.
        """
        base = lemma(noun, "NNS" if plural else "NN")
        return tuple([plural_of(other) if plural else other for other in self.co_hyponyms(base)])

    def _synsets(self, word: str, pos: Pos) -> list[Any]:
        """Its senses, most frequent first, proper names aside."""
        reader = _load(self._path, os.getpid())
        found = reader.synsets(word.replace(" ", "_"), pos) or reader.synsets(word.replace(" ", ""), pos)
        return [synset for synset in found if not synset.instance_hypernyms()]

    def _find_meanings(self, word: str, pos: Pos) -> tuple[_Meaning, ...]:
        # Names and not synsets are kept: a synset reads on in the file that it came from, see _load.
        found = self._synsets(word, pos)
        if not found:
            head = word.partition(" ")[2] if pos == "n" else word.rpartition(" ")[0]
            if pos == "a" or not head:
                return ()
            return tuple(_Meaning(word, kind.wider | {kind.name}) for kind in self._meanings(head, pos))
        if self.senses is not None:
            not_meant = _NOT_MEANT.get(_load(self._path, os.getpid()).morphy(word, pos))
            found = [synset for synset in found if synset.name() != not_meant]
            seen = [synset for synset in found if synset.lexname() not in _UNSEEN]
            found = (seen or found)[: self.senses]
        return tuple(_Meaning(synset.name(), frozenset(one.name() for one in _above(synset))) for synset in found)

    def _find_co_hyponyms(self, word: str) -> tuple[str, ...]:
        sense = self._main_sense(word)
        if sense is None or sense.lexname() not in _THINGS or len(sense.hyponyms()) > _KINDS:
            return ()
        broad = WordNet(self.source, senses=None) if self.senses is not None else self
        found = set()
        sisters = [one for kind in sense.hypernyms() if kind.min_depth() > _BROAD for one in kind.hyponyms()]
        for sister in (one for one in sisters if len(one.hyponyms()) <= _KINDS):
            other = next((one.name().replace("_", " ") for one in sister.lemmas() if one.count()), "")
            if not _is_plain(other) or self._main_sense(other) != sister:
                continue
            if not broad.are_synonyms(word, other, "n") and not broad.is_hypernym(word, other, "n"):
                found.add(other)
        return tuple(sorted(found))

    def _main_sense(self, word: str) -> Any | None:
        """The sense that a word nearly always has, if there is one."""
        found = self._synsets(word, "n")
        if len(found) < 2:
            return found[0] if found else None
        form = word.replace(" ", "_")
        counts = [max((one.count() for one in s.lemmas() if one.name().lower() == form), default=0) for s in found]
        return found[0] if counts[0] and 3 * counts[0] >= 2 * sum(counts) else None


def _again(source: str, senses: int | None) -> WordNet:
    return WordNet(source, senses=senses)


def _is_plain(name: str) -> bool:
    """Neither a proper name nor a plural already ("binoculars")."""
    return name.islower() and name.replace(" ", "").isalpha() and (not name.endswith("s") or name.endswith("ss"))


def _above(synset: Any) -> set[Any]:
    """All that is wider; of an adjective the one that it is gathered around."""
    if synset.pos() == "s":
        return set(synset.similar_tos())
    found: set[Any] = set()
    waiting = [synset]
    while waiting:
        wider = [one for one in waiting.pop().hypernyms() if one not in found]
        found.update(wider)
        waiting += wider
    return found


def _find(source: str) -> str:
    """Where the corpus is, as NLTK's reader takes it: a folder, or an archive with a folder in it."""
    import nltk

    if source == "nltk":
        for place in ("corpora/wordnet", "corpora/wordnet.zip/wordnet/"):
            with suppress(LookupError):
                found = nltk.data.find(place)
                return f"{found.zipfile.filename}/{found.entry}" if place.endswith("/") else str(found)
        raise DataError(f"WordNet is not in NLTK's data path; {_GET}")
    folder = Path(source).expanduser()
    for name in ("data.noun", "index.sense", "cntlist.rev"):
        if not (folder / name).is_file():
            raise DataError(f"'{source}' is no folder with WordNet: it has no '{name}'; {_GET}")
    # NLTK opens nothing outside its data path and follows links; naming the folder there is the way that it documents.
    path = str(folder.resolve())
    if path not in nltk.data.path:
        nltk.data.path.append(path)
    return path


@cache
def _load(path: str, process: int) -> Any:
    """NLTK's reader, one a process: a forked one would share the place in an open file with its parent."""
    from nltk.corpus.reader.wordnet import WordNetCorpusReader, WordNetError

    opened: list[Any] = []

    class Reader(WordNetCorpusReader):  # type: ignore[misc]
        def open(self, file: str) -> Any:
            if file != "lexnames":
                opened.append(super().open(file))
                return opened[-1]
            topics = enumerate(_TOPICS.split())
            return io.StringIO("".join(f"{at:02d}\t{name}\t{_PARTS[name[: name.index('.')]]}\n" for at, name in topics))

        def map_wn(self, version: str = "wordnet") -> dict[str, str]:
            return {}  # for other languages; it would look for a second WordNet in NLTK's own folder

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The multilingual functions")
            return Reader(path, None)
    except (OSError, ValueError, AssertionError, StopIteration, WordNetError) as error:
        for stream in opened:
            stream.close()
        reason = " ".join(str(error).split())
        raise DataError(f"'{path}' cannot be read as WordNet ({reason}); {_GET}") from error
