"""What may be put in for nouns that the lexicon does not list: WordNet's of the same kind that captions use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lightning_cr.errors import ConfigError
from lightning_cr.negatives.text.base import AnnotatedCaption
from lightning_cr.negatives.text.inflection import plural as plural_of
from lightning_cr.negatives.text.lexicon import Lexicon, Unlisted
from lightning_cr.negatives.text.morphology import lemma
from lightning_cr.negatives.text.reading import read
from lightning_cr.negatives.text.swapping import NOT_THINGS
from lightning_cr.negatives.text.wordnet import WordNet

__all__ = ["check_wordnet", "find_unlisted"]

_FEWEST = 2
"""A word that the corpus names as a thing more rarely is a slip, or one of WordNet's that would give itself away."""


def check_wordnet(source: str, context: str) -> None:
    """Refuses a setting before a run that needs it begins.

    Args:
        source: As of :class:`WordNet`, or ``none``.
        context: Of :class:`TextNegatives`.

    Raises:
        ConfigError: There is no corpus to say which of WordNet's words captions use.
    """
    if source == "none":
        return
    if context != "corpus":
        raise ConfigError(
            f"negatives.wordnet is '{source}', which needs a corpus to tell the words that captions use from WordNet's"
            " rare ones; set negatives.context to 'corpus', or negatives.wordnet to 'none'"
        )


def find_unlisted(corpus: Iterable[AnnotatedCaption], lexicon: Lexicon, source: str) -> Unlisted:
    """For each noun that the lexicon does not list, the words of its kind that the corpus has.

    Asked once, for all nouns of a corpus, so that no process that loads data reads WordNet.

    Args:
        corpus: Annotated captions.
        lexicon: What is listed.
        source: As of :class:`WordNet`.

    Raises:
        DataError: WordNet is not there.
    """
    seen: Counter[tuple[str, bool]] = Counter()
    strange: Counter[tuple[str, bool]] = Counter()
    for caption in corpus:
        for thing in read(caption, lexicon).things:
            key = thing.head_word, thing.plural
            seen[key] += 1
            if thing.head is None and thing.head_start == thing.core:
                strange[key] += 1
    wordnet, words = WordNet(source), lexicon.tables.words
    found = {}
    for (noun, plural), count in strange.items():
        if count < _FEWEST or noun in NOT_THINGS or noun in words:
            continue
        others = []
        for other in wordnet.alternatives(noun, plural):
            if seen[other, plural] >= _FEWEST and other not in NOT_THINGS:
                entry = words.get(other)
                one = lemma(other, "NNS") if plural else other
                others.append((other, (one, plural_of(one), *(entry.names if entry else ()))))
        if others:
            found[noun, plural] = tuple(others)
    return found
