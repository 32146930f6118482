"""One shard of annotated captions: how it is laid out as an Arrow file, and how it is read without a copy.

A row is a caption: its text; its tokens with places, tag, lemma and perhaps concreteness; its noun phrases. What holds
for the shard as a whole stands in the metadata of the schema: the tagger, the list of tags, counts and a checksum.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from lightning_cr.errors import DataError
from lightning_cr.negatives.text.base import AnnotatedCaption, Token
from lightning_cr.negatives.text.morphology import lemma
from lightning_cr.negatives.text.tagging import Tagger

__all__ = ["Phrase", "Ratings", "Shard", "StoredCaption", "Strings", "noun_phrases", "write_shard", "write_whole"]

_LONGEST = 65_535  # characters: what uint16 can point at
_MANY_WORDS = 80  # what TextNegatives leaves alone unless told otherwise
_KEY = b"lightning_cr"

# The Treebank's tags and spaCy's; a tag that is not here is appended to the list of the shard in which it occurs.
_TAGS = (
    "CC CD DT EX FW IN JJ JJR JJS LS MD NN NNS NNP NNPS PDT POS PRP PRP$ RB RBR RBS RP SYM TO UH VB VBD VBG VBN VBP "
    "VBZ WDT WP WP$ WRB . , : ( ) '' `` $ # -LRB- -RRB- HYPH AFX ADD NFP XX _SP \""
)

# One letter a token: a determiner, what describes, joins or names in a noun phrase.
_LETTERS = {
    "DT": "D", "PRP$": "D", "JJ": "M", "JJR": "M", "JJS": "M", "CD": "M", "VBG": "V", "VBN": "V",
    "RB": "R", "RBR": "R", "RBS": "R", "CC": "C", ",": "C", "NN": "N", "NNS": "N", "NNP": "N", "NNPS": "N",
}  # fmt: skip
# A participle belongs to a phrase that is open ("a parked car"), but opens none ("a man riding horses").
# The numbers keep a caption of a thousand adjectives from costing a million steps.
_PHRASE = re.compile(r"(?:D(?:R{0,3}[MV](?:C(?=R{0,3}[MV]))?){0,12}|R{0,3}M(?:C?R{0,3}[MV]){0,12})?N+")

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u200b\u200c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_ODD = {
    "emoji": re.compile("[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]"),
    "other_script": re.compile(r"[^\W\d_\x00-\u02af\u1e00-\u1eff]"),
    "surrogate": re.compile("[\ud800-\udfff]"),
}


class Ratings(Protocol):
    """What can say how concrete the words of a caption are."""

    source: str
    """Where the ratings are from; part of a shard's name."""

    def of_caption(self, caption: AnnotatedCaption) -> Sequence[float]:
        """One value in [0, 1] a token, NaN where it is not rated."""


class Phrase(NamedTuple):
    """A noun phrase, as places in a caption's tokens.

    Attributes:
        start: First token, the determiner included.
        end: One past the last token.
        head: The token that names the thing.
    """

    start: int
    end: int
    head: int


def noun_phrases(tags: Iterable[str]) -> list[Phrase]:
    """Finds noun phrases by tags alone: a determiner, what describes, and one or several nouns.

    >>> noun_phrases(["DT", "JJ", "CC", "JJ", "NN", "VBG", "NNS"])
    [Phrase(start=0, end=5, head=4), Phrase(start=6, end=7, head=6)]
    """
    letters = "".join([_LETTERS.get(tag, " ") for tag in tags])
    return [Phrase(found.start(), found.end(), found.end() - 1) for found in _PHRASE.finditer(letters)]


class Shard:
    """Views of one shard's columns; nothing is copied.

    Args:
        batch: The Arrow record batch that a file holds.
        name: Of that file.

    Attributes:
        name: Of its file, which stands for its content; empty where it has none.
        about: What is said of the shard as a whole.
        texts: The captions.
        offsets: First token of each caption; the next entry is one past its last.
        starts: Of each token.
        ends: Of each token.
        tags: Of each token, as numbers in ``tag_names``.
        lemmas: Of each token, as numbers in ``words``.
        words: The lemmas of the shard.
        ratings: Of each token, or None.
        phrase_offsets: First noun phrase of each caption.
        phrases: Starts, ends and heads of the phrases, counted from the caption's first token.
        tag_names: The tags that may occur.
    """

    def __init__(self, batch: Any, name: str = "") -> None:
        self.name = name
        self.about: dict[str, Any] = json.loads(batch.schema.metadata[_KEY])
        self.texts = Strings.of(batch.column("text"))
        tokens = batch.column("tokens")
        self.offsets = tokens.offsets.to_numpy()
        self.starts, self.ends, self.tags = (tokens.values.field(name).to_numpy() for name in ("start", "end", "tag"))
        lemmas = tokens.values.field("lemma")
        self.lemmas, self.words = lemmas.indices.to_numpy(), Strings.of(lemmas.dictionary)
        rated = tokens.type.value_type.get_field_index("concreteness") >= 0
        self.ratings = tokens.values.field("concreteness").to_numpy() if rated else None
        phrases = batch.column("phrases")
        self.phrase_offsets = phrases.offsets.to_numpy()
        self.phrases = [phrases.values.field(name).to_numpy() for name in Phrase._fields]
        self.tag_names: list[str] = self.about["tags"]

    @classmethod
    def open(cls, path: Path) -> Shard:
        """Maps a file.

        Raises:
            DataError: It is missing, or not laid out as a shard.
        """
        try:
            # Closing gives the descriptor back; the map lives as long as a view of it.
            with pa.memory_map(str(path)) as source:
                return cls(pa.ipc.open_file(source).get_batch(0), path.stem)
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError, IndexError) as error:
            reason = "is missing" if not path.exists() else f"is damaged ({' '.join(str(error).split())[:100]})"
            raise DataError(f"the annotation '{path}' {reason}; run annotate again, which makes it anew") from error

    def __len__(self) -> int:
        return len(self.texts)

    def of(self, row: int, column: Any) -> list[Any]:
        """The entries of one caption in a column of tokens."""
        return column[self.offsets[row] : self.offsets[row + 1]].tolist()  # type: ignore[no-any-return]

    def tokens(self, row: int) -> tuple[Token, ...]:
        """The tokens of one caption, as the tagger made them."""
        text, names = self.texts[row], self.tag_names
        places = zip(self.of(row, self.starts), self.of(row, self.ends), self.of(row, self.tags), strict=True)
        return tuple([Token(text[start:end], start, end, names[tag]) for start, end, tag in places])

    def checksum(self) -> int:
        """Of all that the shard holds; ``about`` has the one it was written with."""
        about = {key: value for key, value in self.about.items() if key != "checksum"}
        check = zlib.crc32(json.dumps(about, sort_keys=True).encode())
        views = [self.offsets, self.starts, self.ends, self.tags, self.lemmas, self.phrase_offsets, *self.phrases]
        views += [self.texts.offsets, self.texts.data, self.words.offsets, self.words.data]
        for view in views if self.ratings is None else [*views, self.ratings]:
            check = zlib.crc32(view, check)
        return check


class StoredCaption(AnnotatedCaption):
    """A caption of a shard, equal to what the tagger made; its tokens are built when they are first asked for.

    Args:
        shard: Where it is.
        row: Its number there.
    """

    __slots__ = ("_tokens", "row", "shard")

    shard: Shard
    row: int
    _tokens: tuple[Token, ...] | None

    def __init__(self, shard: Shard, row: int) -> None:
        for name, value in (("text", shard.texts[row]), ("shard", shard), ("row", row), ("_tokens", None)):
            object.__setattr__(self, name, value)  # captions are frozen

    @property
    def tokens(self) -> tuple[Token, ...]:
        """Its words and marks, in order."""
        if self._tokens is None:
            object.__setattr__(self, "_tokens", self.shard.tokens(self.row))
        return self._tokens  # type: ignore[return-value]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AnnotatedCaption):
            return NotImplemented
        return self.text == other.text and self.tokens == other.tokens

    def __hash__(self) -> int:
        return hash((self.text, self.tokens))

    def __reduce__(self) -> tuple[type[AnnotatedCaption], tuple[str, tuple[Token, ...]]]:
        return AnnotatedCaption, (self.text, self.tokens)


class Strings:
    """Many strings in one buffer, each decoded when it is asked for.

    Args:
        offsets: Of the first byte of each, and one past the last byte of all.
        data: The bytes, in UTF-8.
    """

    def __init__(self, offsets: Any, data: memoryview) -> None:
        self.offsets, self.data = offsets, data

    @classmethod
    def of(cls, column: Any) -> Strings:
        """Those of an Arrow column."""
        _, offsets, data = column.buffers()
        found = np.frombuffer(offsets, np.int32, len(column) + 1) if len(column) else np.zeros(1, np.int32)
        return cls(found, memoryview(data or b"")[: int(found[-1])])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> str:
        begin, end = self.offsets[row : row + 2].tolist()
        return str(self.data[begin:end], "utf-8", "surrogatepass")


def write_shard(path: Path, texts: list[str], tagger: Tagger, concreteness: Ratings | None) -> None:
    """Annotates captions and writes them whole: the file is there with all it should hold, or it is not there.

    Raises:
        DataError: It cannot be written, the tagger's data is missing, or the ratings do not fit the tokens.
    """
    write_whole(path, _build(texts, tagger, concreteness), "annotations")


def write_whole(path: Path, batch: Any, what: str) -> None:
    """Writes one record batch as an Arrow file that is there whole or not at all.

    Args:
        path: Its name.
        batch: What it holds.
        what: That in words, for the error.

    Raises:
        DataError: It cannot be written.
    """
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            f"{what} cannot be written to '{path.parent}' ({error.strerror or error}); give a folder that is writable"
            " and has space"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _build(texts: list[str], tagger: Tagger, concreteness: Ratings | None) -> Any:
    tags = {tag: number for number, tag in enumerate(_TAGS.split())}
    words: dict[str, int] = {}
    offsets, starts, ends, tag_numbers, lemmas = array("i", [0]), array("H"), array("H"), array("H"), array("i")
    phrase_offsets, phrases = array("i", [0]), array("H")
    ratings: list[float] = []
    problems: Counter[str] = Counter()
    for text in texts:
        # Places beyond uint16 cannot be stored, and no caption reads like that.
        caption = tagger.annotate(text) if len(text) <= _LONGEST else AnnotatedCaption(text, ())
        tokens = caption.tokens
        for token in tokens:
            starts.append(token.start)
            ends.append(token.end)
            tag_numbers.append(tags.setdefault(token.tag, len(tags)))
            lemmas.append(words.setdefault(lemma(token.text, token.tag), len(words)))
        offsets.append(len(starts))
        for phrase in noun_phrases(token.tag for token in tokens):
            phrases.extend(phrase)
        phrase_offsets.append(len(phrases) // 3)
        if concreteness is not None:
            rated = concreteness.of_caption(caption)
            if len(rated) != len(tokens):
                raise DataError(
                    f"'{concreteness.source}' rates {len(rated)} of the {len(tokens)} tokens of {text[:60]!r}"
                )
            ratings.extend(rated)
        problems.update(_problems(text, len(tokens)))
    if len(tags) > 256:
        raise DataError(f"the tagger '{tagger.name}' gives {len(tags)} different tags; at most 256 can be stored")
    fields = {
        "start": _array(starts),
        "end": _array(ends),
        "tag": pa.array(np.asarray(tag_numbers).astype(np.uint8)),
        "lemma": pa.DictionaryArray.from_arrays(
            pa.array(np.asarray(lemmas).astype(np.uint16 if len(words) <= 65_536 else np.uint32)), _strings(list(words))
        ),
    }
    if concreteness is not None:
        fields["concreteness"] = pa.array(np.asarray(ratings, np.float16))
    places = np.asarray(phrases).reshape(-1, 3)
    columns = {
        "text": _strings(texts),
        "tokens": _lists(offsets, fields),
        "phrases": _lists(
            phrase_offsets, {name: pa.array(places[:, at].copy()) for at, name in enumerate(Phrase._fields)}
        ),
    }
    batch = pa.RecordBatch.from_pydict(columns)
    about: dict[str, Any] = {
        "tagger": tagger.name,
        "tags": list(tags),
        "concreteness": None if concreteness is None else concreteness.source,
        "problems": dict(sorted(problems.items())),
    }
    unsigned = batch.replace_schema_metadata({_KEY: json.dumps(about)})
    about["checksum"] = Shard(unsigned).checksum()
    return batch.replace_schema_metadata({_KEY: json.dumps(about)})


def _array(values: array[int]) -> Any:
    return pa.array(np.asarray(values))


def _lists(offsets: array[int], fields: dict[str, Any]) -> Any:
    return pa.ListArray.from_arrays(_array(offsets), pa.StructArray.from_arrays(list(fields.values()), list(fields)))


def _strings(values: list[str]) -> Any:
    encoded = [value.encode("utf-8", "surrogatepass") for value in values]
    if sum(map(len, encoded)) >= 2**31:
        raise DataError(f"{len(values):,} captions hold more than 2 GiB of text; are these captions?")
    try:
        return pa.array(values, pa.string())
    except (UnicodeEncodeError, pa.ArrowInvalid):
        return pa.array(encoded, pa.binary())  # half a surrogate pair is no valid text, and is kept as it is


def _problems(text: str, tokens: int) -> Iterator[str]:
    if len(text) > _LONGEST:
        yield "too_long"
    elif not tokens:
        yield "empty"
    elif tokens > _MANY_WORDS:
        yield "many_words"
    if not text.isprintable() and _CONTROL.search(text):
        yield "control"
    if not text.isascii():
        for name, pattern in _ODD.items():
            if pattern.search(text):
                yield name
