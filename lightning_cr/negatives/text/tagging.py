"""From text to an annotated caption: words with their places and part-of-speech tags."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import cache, lru_cache, partial
from importlib.metadata import version
from typing import Any

from lightning_cr.errors import ConfigError, DataError, suggest
from lightning_cr.negatives.text.base import AnnotatedCaption, Token

__all__ = ["TAGGERS", "Tagger", "tokenize"]

# A word may hold hyphens and points inside (t-shirt, 12.5); the possessive 's is a word of its own, as in the Treebank.
_TOKEN = re.compile(r"'s\b|[^\W_]+(?:[-.][^\W_]+)*(?:n't|'(?!s\b)[^\W_]+)?|[^\w\s]|_", re.UNICODE)


def _set(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


_NOUNS = _set("NN NNS NNP NNPS")
_OPENS_NOUN = _set("DT PRP$ JJ CD")
_NUMBERED = _set("some two three four five six many several these multiple few")
# Words that the pattern tagger takes for nouns or verbs everywhere; in captions their neighbours decide.
_NOUN_OR_THIRD_PERSON = _set(
    "attempts bends catches drives hits jumps moves points poses",
    "rides skis smiles stares surfs swings talks watches works",
)
_THIRD_PERSON_OR_NOUN = _set("bears boards bristles faces leaves mirrors sinks sprinkles tracks trains waves")
_ING_NOUNS = _set(
    "anything bedding building ceiling clothing crossing dining dressing earring evening everything frosting icing",
    "king lighting living morning nothing painting parking railing ring something spring stocking string swing thing",
    "topping wedding wing",
)
_FOLLOWS_VERB = _set("DT PRP$ IN RB TO CD")
_SPACY_MODEL = "en_core_web_sm"


def tokenize(text: str) -> list[tuple[str, int, int]]:
    """Words and marks with their places; white space lies between them.

    >>> tokenize("A man's hat.")
    [('A', 0, 1), ('man', 2, 5), ("'s", 5, 7), ('hat', 8, 11), ('.', 11, 12)]
    """
    return [(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(text)]


@cache
def _pattern_parser() -> Callable[..., list[list[tuple[str, str]]]]:
    from textblob.en import parser

    def parse(words: list[str]) -> list[list[tuple[str, str]]]:
        tagged: list[list[tuple[str, str]]] = parser.parse(
            [words], tokenize=False, tags=True, chunks=False, collapse=False
        )
        return tagged

    with warnings.catch_warnings():
        # textblob reads its word lists at first use and leaves the closing of the files to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        parse(["a"])
    return parse


def _pattern(words: list[str]) -> list[str]:
    sentence = _pattern_parser()(words)[0]
    return _mend(words, [tag for _, tag in sentence])


def _nltk(words: list[str]) -> list[str]:
    import nltk

    try:
        return [tag for _, tag in nltk.pos_tag(words)]
    except LookupError as error:
        raise DataError(
            "negatives.tagger is 'nltk', whose data is not installed; run: "
            "python -m nltk.downloader averaged_perceptron_tagger_eng, or set it to 'pattern', which needs no data"
        ) from error


@cache
def _spacy_model(model: str) -> Any:
    download = "" if model.count("/") else f"python -m spacy download {model}"
    otherwise = "or set it to 'pattern', which needs neither"
    try:
        import spacy
    except ModuleNotFoundError as error:
        install = " && ".join(filter(None, ("pip install 'lightning_cr[spacy]'", download)))
        raise DataError(
            f"negatives.tagger is 'spacy:{model}', but the module '{error.name}' is not installed; run: {install}, "
            + otherwise
        ) from error
    try:
        loaded = spacy.load(model, exclude=["parser", "ner", "senter", "lemmatizer", "attribute_ruler"])
    except OSError as error:
        raise DataError(
            f"negatives.tagger is 'spacy:{model}', whose model is not installed; "
            f"{f'run: {download}' if download else 'name the folder of a spaCy model'}, {otherwise}"
        ) from error
    if "tagger" not in loaded.pipe_names:
        has = ", ".join(loaded.pipe_names) or "nothing"
        raise DataError(
            f"negatives.tagger is 'spacy:{model}', a model without a tagger (it has {has}); "
            f"use one with part-of-speech tags, such as '{_SPACY_MODEL}'"
        )
    return loaded


def _spacy(words: list[str], model: str) -> list[str]:
    loaded = _spacy_model(model)
    from spacy.tokens import Doc

    # A Doc of our own words: spaCy's tokenizer is not asked, so that places mean the same under every tagger.
    return [token.tag_ for token in loaded(Doc(loaded.vocab, words=words))]


TAGGERS: dict[str, Callable[[list[str]], list[str]]] = {
    "pattern": _pattern,
    "nltk": _nltk,
    "spacy": partial(_spacy, model=_SPACY_MODEL),
}
"""What may be asked for, by name; ``spacy:MODEL`` is spaCy with another model."""


def _mend(words: list[str], tags: list[str]) -> list[str]:
    """Corrects what the pattern tagger, which looks at few neighbours, gets wrong in captions again and again."""
    last = len(words) - 1
    for i, tag in enumerate(tags):
        before = tags[i - 1] if i else ""
        after = tags[i + 1] if i < last else "."
        word = words[i]
        if word.isdecimal():
            tags[i] = "CD"  # "2" and "4", which it reads as "to" and "for"
        elif tag == "VB":
            if before in _OPENS_NOUN or (before == "IN" and after in ("IN", ".", "CC")):
                tags[i] = "NN"  # "a sink", "a stop sign"
            elif before == "NN" and after in ("IN", ".", "CC", "VBZ", "VBG"):
                tags[i] = "NN"  # "the kitchen sink"
        elif tag == "VBZ" and word in _THIRD_PERSON_OR_NOUN:
            if before != "NNS" and after not in ("DT", "PRP$", "RB"):
                tags[i] = "NNS"  # "teddy bears", "train tracks"
        elif tag == "NNS" and word in _NOUN_OR_THIRD_PERSON:
            if before in _NOUNS and after in _FOLLOWS_VERB:
                tags[i] = "VBZ"  # "a man rides a horse"
        elif tag == "NN" and len(word) > 4 and word.endswith("ing") and word not in _ING_NOUNS:
            if ((before in _NOUNS or before in ("VBZ", "VBP", "RB")) and after in _FOLLOWS_VERB) or i == 0:
                tags[i] = "VBG"  # "a man surfing on a wave"
        elif (tag == "VBN" and word == "moped" and before in _OPENS_NOUN) or (tag == "VBP" and before == "DT"):
            tags[i] = "NN"
        elif tag == "NN" and i and words[i - 1] in _NUMBERED and word.endswith("s"):
            tags[i] = "NNS"
    return tags


class Tagger:
    """Annotates captions; those seen lately are remembered, since captions come back every epoch.

    Args:
        name: ``pattern`` (pure Python, no data), ``nltk`` (its perceptron, whose data must be there), or ``spacy`` with
            the model ``en_core_web_sm``; ``spacy:MODEL`` takes another one (a name or a folder).
        remember: How many captions to keep.

    Raises:
        ConfigError: An unknown name.
    """

    def __init__(self, name: str = "pattern", remember: int = 20_000) -> None:
        kind, colon, model = name.partition(":")
        if kind not in TAGGERS or (colon and (kind != "spacy" or not model)):
            known = ", ".join(f"'{known}'" for known in TAGGERS)
            raise ConfigError(
                f"negatives.tagger is '{name}'; known are {known} and 'spacy:MODEL'.{suggest(kind, TAGGERS)}"
            )
        self.name = name
        self.remember = remember
        self._tags = partial(_spacy, model=model) if colon else TAGGERS[kind]
        self._remembered = lru_cache(remember)(self.annotate)

    def __call__(self, text: str) -> AnnotatedCaption:
        """Annotates a caption, or gives what was made of it before.

        Raises:
            DataError: The tagger's data is missing.
        """
        return self._remembered(text)

    def __reduce__(self) -> tuple[type[Tagger], tuple[str, int]]:
        # What is remembered stays behind: a DataLoader worker fills its own.
        return Tagger, (self.name, self.remember)

    @property
    def version(self) -> str:
        """What the tags depend on besides this file: the tagger's name and the release of what does the tagging.

        Raises:
            DataError: The tagger is not installed.
        """
        kind, _, model = self.name.partition(":")
        if kind != "spacy":
            package = {"pattern": "textblob", "nltk": "nltk"}.get(kind)
            return f"{kind} {package}-{version(package)}" if package else kind
        model = model or _SPACY_MODEL
        meta = _spacy_model(model).meta
        return f"spacy-{version('spacy')} {model} {meta['lang']}_{meta['name']}-{meta['version']}"

    def annotate(self, text: str) -> AnnotatedCaption:
        """Annotates a caption without remembering it.

        Raises:
            DataError: The tagger's data is missing.
        """
        found = tokenize(text)
        if not found:
            return AnnotatedCaption(text, ())
        words = [word for word, _, _ in found]
        # The first capital is the sentence's, not a name's; capitals throughout say nothing.
        lowered = [word.lower() for word in words] if text.isupper() else [words[0].lower(), *words[1:]]
        tags = self._tags(lowered)
        return AnnotatedCaption(
            text, tuple(Token(word, start, end, tag) for (word, start, end), tag in zip(found, tags, strict=True))
        )
