"""The words that rules may replace, read from a YAML file and indexed by surface form.

A *concept* has one or several names ("couch = sofa"); the concepts of a group stand in for each other unless the file
says that both may be true of one thing. Relations come as rules: these words, between such nouns, may become those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from lightning_cr.errors import ConfigError, DataError, suggest
from lightning_cr.negatives.text.inflection import plural, verb_forms

__all__ = ["Concept", "Entry", "Lexicon", "Link", "Tables", "Unlisted", "load"]

Unlisted = Mapping[tuple[str, bool], tuple[tuple[str, tuple[str, ...]], ...]]
"""By a noun that is in no group and whether it is a plural: what may be put in, each with all that it goes by."""

_MANNERS = ("prepositions", "phrases", "transitive", "intransitive")
_QUALITIES = ("attributes", "attribute_overlaps")
SECTIONS = (
    *("kinds", "objects", "overlaps", "nouns", "measures", "genders", *_QUALITIES, "compounds", "many_for_one"),
    *(*_MANNERS, "symmetric", "fixed"),
)
_ANY_TAG = ""


@dataclass(slots=True, eq=False)
class Concept:
    """One thing or quality with its names.

    Attributes:
        name: The name that is put in.
        names: All names.
        group: Where its alternatives come from.
        number: ``count``, ``mass`` or ``plural``; of a quality, ``plural`` is one that says how many.
        plural: The plural that is put in.
        wordings: All names that can be put in, the first among them; in the plural where :attr:`plural` is asked for.
        plurals: Their plurals, of a thing.
        gender: Key of the pronouns that go with it, or empty.
        of: Groups and concepts that a quality can be said of, or None for any.
        not_of: Groups and concepts that a quality is not exchanged on.
        alternatives: What may stand there instead: never a synonym, never true together with it.
    """

    name: str
    names: tuple[str, ...]
    group: str
    number: str = "count"
    plural: str = ""
    wordings: tuple[str, ...] = ()
    plurals: tuple[str, ...] = ()
    gender: str = ""
    of: frozenset[str] | None = None
    not_of: frozenset[str] = frozenset()
    alternatives: tuple[Concept, ...] = ()

    def fits(self, head: Concept | None) -> bool:
        """Whether this quality can be exchanged on a thing; ``None`` is a noun that the lexicon does not know."""
        if head is None:
            return self.of is None
        if head.group in self.not_of or head.name in self.not_of:
            return False
        return self.of is None or head.group in self.of or head.name in self.of


@dataclass(slots=True, eq=False)
class Link:
    """What a relation may become.

    Attributes:
        manner: ``prepositions``, ``phrases``, ``transitive`` or ``intransitive``.
        instead: The replacements, inflected as the original.
        before: Groups and concepts that must follow, or None for any.
        subject: Groups and concepts that must come before, or None for any.
        fallback: Used only where no other relation can be replaced.
    """

    manner: str
    instead: tuple[str, ...]
    before: frozenset[str] | None
    subject: frozenset[str] | None
    fallback: bool


@dataclass(slots=True, eq=False)
class Entry:
    """All that one surface form ("teddy bears", "orange", "riding") can be.

    Attributes:
        thing: The concept it names as a noun.
        plural: Whether it is a plural form; None where singular and plural look alike.
        qualities: The concepts it names as an adjective, in the order of the file.
        links: By part-of-speech tag (empty: any) what the relation may become.
        fixed: Never edited.
        names: Canonical names of its concepts, to see what a caption already says.
    """

    thing: Concept | None = None
    plural: bool | None = False
    qualities: tuple[Concept, ...] = ()
    links: dict[str, tuple[Link, ...]] = field(default_factory=dict)
    fixed: bool = False
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Tables:
    """The lexicon by surface form, lower case.

    Attributes:
        words: Entries of one word.
        phrases: Entries of several words by the first, longest first.
        symmetric: Relations that say the same of a and b as of b and a.
        measures: Nouns that portion what follows "of".
        pronouns: Gender of each pronoun.
        compounds: By head ("player", "players") and first word ("tennis") what the first word may become.
        many_for_one: Groups and concepts of which one may become several, and how many then.
        kinds: Of each group of things the kinds that it belongs to, those made of smaller kinds aside.
    """

    words: dict[str, Entry]
    phrases: dict[str, tuple[tuple[list[str], Entry], ...]]
    symmetric: frozenset[str]
    measures: frozenset[str]
    pronouns: dict[str, str]
    compounds: dict[str, dict[str, Concept]]
    kinds: dict[str, frozenset[str]]
    many_for_one: tuple[frozenset[str], tuple[str, ...]] | None = None


class Lexicon:
    """A lexicon file, read at first use.

    Args:
        source: Path of a YAML file, or the name of one that comes with the package; None is ``coco``.
        unlisted: What may be put in for nouns that the file does not have.

    Raises:
        ConfigError: Neither a file nor a known name.
    """

    def __init__(self, source: str | None = None, unlisted: Unlisted | None = None) -> None:
        self.source = source
        self.path = _find(source)
        self.unlisted: Unlisted = unlisted or {}

    @cached_property
    def tables(self) -> Tables:
        """The index, built once a process.

        Raises:
            DataError: The file is not a lexicon.
        """
        return load(self.path)

    def __reduce__(self) -> tuple[type[Lexicon], tuple[str | None, Unlisted]]:
        # A spawned DataLoader worker reads the file again: quicker than unpickling the tables.
        return Lexicon, (self.source, self.unlisted)


def _find(source: str | None) -> Path:
    room = Path(__file__).parent
    bundled = {"coco": room / "lexicon.yaml", "scenes": room / "lexicon_scenes.yaml"}
    if source is None or source in bundled:
        return bundled[source or "coco"]
    path = Path(source).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"negatives.lexicon is '{source}', which is no file; give a YAML file or one of"
            f" {', '.join(bundled)}.{suggest(source, bundled)}"
        )
    return path


@cache
def load(path: Path) -> Tables:
    """Reads and indexes a lexicon file.

    Raises:
        DataError: It is not YAML, has an unknown section, or says something twice.
    """
    import yaml

    from lightning_cr.negatives.text.lexicon_layout import check_layout  # knows YAML too

    # The base loader makes every scalar a string: with the usual one the words "on" and "off" are booleans.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        reader = loader(path.read_text(encoding="utf-8"))
        document = reader.get_single_node()
        check_layout(path, document)
        raw = reader.construct_document(document) if document else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as a lexicon ({reason}); see lexicon.yaml of this package") from error
    if not isinstance(raw, dict):
        raise DataError(f"{path} is not a lexicon: it must hold sections such as 'objects'; see lexicon.yaml")
    for section in raw:
        if section not in SECTIONS:
            known = ", ".join(SECTIONS)
            raise DataError(f"{path} has the section '{section}'; known are {known}.{suggest(str(section), SECTIONS)}")
    try:
        return _Indexer(path, raw).index()
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not laid out as a lexicon ({error!r}); see lexicon.yaml of this package") from error


class _Indexer:
    def __init__(self, path: Path, raw: Mapping[str, Any]) -> None:
        self.path = path
        self.raw = {section: raw.get(section) or {} for section in SECTIONS}
        self.entries: dict[str, Entry] = {}
        self.known: set[str] = {*self.raw["kinds"], *self.raw["objects"], *self.raw["nouns"]}

    def index(self) -> Tables:
        things = self._concepts("objects", self.raw["overlaps"])
        genders = self.raw["genders"]
        gender_of = {noun: gender for gender, words in genders.items() for noun in words["nouns"]}
        self.known |= {concept.name for concept in things}
        for concept in things:
            concept.gender = gender_of.get(concept.name, "")
            many = {name: plural(name) if concept.number == "count" else name for name in concept.names}
            concept.plural, concept.plurals = many[concept.name], tuple(many.values())
            self._name_thing(concept)
        for concept in self._concepts("attributes", self.raw["attribute_overlaps"]):
            for name in concept.names:
                entry = self._entry(name, concept.name)
                entry.qualities += (concept,)
        for manner in _MANNERS:
            for rule in self.raw[manner]:
                self._link(manner, rule)
        for phrase in self.raw["fixed"]:
            self._entry(phrase, phrase).fixed = True
        return Tables(
            words={form: entry for form, entry in self.entries.items() if " " not in form},
            phrases=self._phrases(),
            symmetric=frozenset(self.raw["symmetric"]),
            measures=frozenset(self.raw["measures"]),
            pronouns={word: gender for gender, words in genders.items() for word in words["pronouns"]},
            compounds=self._compounds(),
            many_for_one=self._many_for_one(),
            kinds=self._kinds(),
        )

    def _kinds(self) -> dict[str, frozenset[str]]:
        groups = {kind: self._names([kind]) or frozenset() for kind in self.raw["kinds"]}
        # "animate" says what verbs go with humans and animals, not that one may be the other
        narrow = {kind for kind, own in groups.items() if not any(own > other for other in groups.values())}
        return {group: frozenset(kind for kind in narrow if group in groups[kind]) for group in self.raw["objects"]}

    def _entry(self, form: str, name: str) -> Entry:
        entry = self.entries.setdefault(form, Entry())
        if name not in entry.names:
            entry.names += (name,)
        return entry

    def _name_thing(self, concept: Concept) -> None:
        for name in concept.names:
            forms: dict[str, bool | None] = {name: concept.number == "plural"}
            if concept.number == "count":
                many = plural(name)
                forms = {name: None} if many == name else {name: False, many: True}
            for form, is_plural in forms.items():
                entry = self._entry(form, concept.name)
                # A name that is also another's plural ("glasses") keeps its first reading.
                if entry.thing is None:
                    entry.thing, entry.plural = concept, is_plural

    def _many_for_one(self) -> tuple[frozenset[str], tuple[str, ...]] | None:
        given = self.raw["many_for_one"]
        return (self._names(given["of"]) or frozenset(), tuple(given["words"])) if given else None

    def _compounds(self) -> dict[str, dict[str, Concept]]:
        """For each head in both numbers what may stand before it."""
        found: dict[str, dict[str, Concept]] = {}
        for concept in self._concepts("compounds", {}):
            for head in concept.group.split(" = "):
                for form in (head, plural(head)):
                    found.setdefault(form, {}).update(dict.fromkeys(concept.names, concept))
        return found

    def _concepts(self, section: str, overlaps: Mapping[str, list[str]]) -> list[Concept]:
        """The concepts of a section, each with its alternatives."""
        clashes = {(name, other) for name, others in overlaps.items() for other in others}
        clashes |= {(other, name) for name, other in clashes}
        concepts: list[Concept] = []
        for group, content in self.raw[section].items():
            settings = content if isinstance(content, dict) else {"words": content}
            members = []
            for item in settings["words"]:
                marked = [name.strip() for name in item.split(" = ")]
                names = tuple(name.removeprefix("-") for name in marked)
                limits = self._names(settings.get("of")), self._names(settings.get("not_of")) or frozenset()
                number = settings.get("number", "count")
                wordings = tuple(name for name in marked if not name.startswith("-"))
                members.append(
                    Concept(names[0], names, group, number, wordings=wordings, of=limits[0], not_of=limits[1])
                )
            for one in members:
                one.alternatives = tuple(
                    other for other in members if other is not one and (one.name, other.name) not in clashes
                )
            concepts += members
        for name in sorted({name for clash in clashes for name in clash} - {concept.name for concept in concepts}):
            raise DataError(f"{self.path} has an overlap of '{name}', which is no first name in '{section}'")
        return concepts

    def _names(self, given: Iterable[str] | None) -> frozenset[str] | None:
        """Group and concept names, and plain nouns, with the kinds written out."""
        if given is None:
            return None
        kinds = self.raw["kinds"]
        names: set[str] = set()
        for name in given:
            if name not in self.known:
                raise DataError(
                    f"{self.path} limits something to '{name}', which is no group, kind or first name of a thing."
                    + suggest(name, sorted(self.known))
                )
            if name in self.raw["nouns"]:
                names |= {form for noun in self.raw["nouns"][name] for form in (noun, plural(noun))}
                continue
            names |= (self._names(kinds[name]) or set()) if name in kinds and kinds[name] != [name] else {name}
        return frozenset(names)

    def _link(self, manner: str, rule: Mapping[str, Any]) -> None:
        before, subject = self._names(rule.get("before")), self._names(rule.get("subject"))
        inflected = manner in ("transitive", "intransitive")
        instead = [verb_forms(word) if inflected else {_ANY_TAG: word} for word in rule["instead"]]
        for word in rule["words"]:
            for tag, form in (verb_forms(word) if inflected else {_ANY_TAG: word}).items():
                link = Link(
                    manner, tuple(other[tag] for other in instead), before, subject, rule.get("fallback") == "true"
                )
                links = self._entry(form, word).links
                for key in (tag, "VBP") if tag == "VB" else (tag,):
                    links[key] = (*links.get(key, ()), link)

    def _phrases(self) -> dict[str, tuple[tuple[list[str], Entry], ...]]:
        by_first: dict[str, list[tuple[list[str], Entry]]] = {}
        for form, entry in self.entries.items():
            if " " in form:
                words = form.split()
                by_first.setdefault(words[0], []).append((words, entry))
        return {first: tuple(sorted(found, key=lambda item: -len(item[0]))) for first, found in by_first.items()}
