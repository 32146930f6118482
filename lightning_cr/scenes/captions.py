"""The caption grammar: one scene, many wordings; each word carries its part-of-speech tag, so no tagger is needed.

A :class:`Wording` holds every choice that is not in the scene. The same wording of an edited scene is the minimal
false caption; another wording of the same scene is a paraphrase. Fillers in COCO's manner ("a nice picture of ...")
bring in words of low concreteness.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import pairwise

from lightning_cr.negatives.text.base import AnnotatedCaption, Token
from lightning_cr.scenes.graph import BACKGROUNDS, COLOURS, INVERSE, SHAPES, TEXTURES, Scene, Thing, is_held_out

__all__ = ["Mention", "Wording", "caption", "draw_wording", "names_held_out", "paraphrase", "vocabulary"]

Words = list[tuple[str, str]]

_SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
_NUMBERS = {2: "two", 3: "three"}
_RELATION_WORDS = {
    "left": ("to/TO the/DT left/NN of/IN", "left/NN of/IN"),
    "right": ("to/TO the/DT right/NN of/IN", "right/NN of/IN"),
    "above": ("above/IN", "over/IN"),
    "below": ("below/IN", "under/IN"),
}
_PLACE_WORDS = {
    "left": "on/IN the/DT left/NN",
    "right": "on/IN the/DT right/NN",
    "above": "up/RB above/RB",
    "below": "down/RB below/RB",
}
_FILLERS = (
    "",
    "a/DT picture/NN of/IN",
    "a/DT nice/JJ picture/NN of/IN",
    "an/DT interesting/JJ scene/NN with/IN",
    "a/DT simple/JJ view/NN of/IN",
    "a/DT good/JJ example/NN of/IN",
)
_FRAMES = ("plain", "there", "is")


def _parse(tagged: str) -> Words:
    return [(word, tag) for word, _, tag in (item.partition("/") for item in tagged.split())]


_PARSED_RELATIONS = {name: tuple(map(_parse, forms)) for name, forms in _RELATION_WORDS.items()}
_PARSED_PLACES = {name: _parse(form) for name, form in _PLACE_WORDS.items()}
_PARSED_FILLERS = tuple(map(_parse, _FILLERS))


@dataclass(frozen=True, slots=True)
class Mention:
    """What the caption says of one thing beside its shape and number."""

    size: bool
    colour: bool
    texture: bool


@dataclass(frozen=True, slots=True)
class Wording:
    """Every choice of words that the scene leaves open.

    Attributes:
        filler: Number of the opening phrase; 0 for none.
        frame: ``plain`` ("A above B"), ``there`` ("there is A above B") or ``is`` ("A is above B").
        turned: Name the second thing first, with the inverse relation.
        mentions: What is said of each thing, in the order of the scene.
        size_word: Which of the words for a size.
        relation_word: Which of the phrases for a relation.
        background: Whether the background is named.
        where: Tell where things stand; without it they are only named ("A and B").
    """

    filler: int
    frame: str
    turned: bool
    mentions: tuple[Mention, ...]
    size_word: int
    relation_word: int
    background: bool
    where: bool = True


def draw_wording(scene: Scene, rng: random.Random, full: bool = False, where: float = 1.0) -> Wording:
    """Draws how a scene is described.

    Args:
        scene: What is described.
        rng: The only source of randomness.
        full: Say everything of every thing, and the background.
        where: Probability that it is told where things stand.
    """
    chance = rng.random
    mentions = tuple(
        Mention(
            full or chance() < 0.5,
            full or chance() < 0.95,
            thing.texture != "plain" and (full or chance() < 0.8),
        )
        for thing in scene.things
    )
    filler = rng.randrange(1, len(_FILLERS)) if chance() < 0.3 else 0
    told = where >= 1 or chance() < where
    frame = _draw_frame(filler, told, len(scene.things), rng)
    turned, words, background = chance() < 0.5, (rng.randrange(3), rng.randrange(2)), full or chance() < 0.2
    return Wording(filler, frame, turned, mentions, *words, background, told)


def paraphrase(wording: Wording, rng: random.Random) -> Wording:
    """Other words that say the same: what is mentioned stays, the rest changes.

    The order of the things is turned (with the inverse relation), and opening, frame and the words for sizes and
    relations are drawn anew.
    """
    filler = rng.randrange(len(_FILLERS))
    frame = _draw_frame(filler, wording.where, len(wording.mentions), rng)
    size_word = (wording.size_word + rng.choice((1, 2))) % 3
    relation_word = 1 - wording.relation_word
    return replace(
        wording,
        filler=filler,
        frame=frame,
        turned=not wording.turned,
        size_word=size_word,
        relation_word=relation_word,
    )


def _draw_frame(filler: int, where: bool, things: int, rng: random.Random) -> str:
    if filler or things == 1:
        return "plain"
    return rng.choice(_FRAMES if where else _FRAMES[:2])  # "A is and B" is no sentence


def caption(scene: Scene, wording: Wording) -> AnnotatedCaption:
    """Writes the caption of a scene in a wording, with tags."""
    order = [0, 1][: len(scene.things)]
    relation = scene.relation
    if wording.turned and len(order) == 2:
        order.reverse()
        relation = INVERSE[relation]
    words: Words = list(_PARSED_FILLERS[wording.filler])
    first = scene.things[order[0]]
    verb = ("is", "VBZ") if first.count == 1 else ("are", "VBP")
    if wording.frame == "there":
        words += [("there", "EX"), verb]
    words += _noun_phrase(first, wording.mentions[order[0]], wording)
    if len(order) == 2:
        if wording.frame == "is":
            words.append(verb)
        words += _PARSED_RELATIONS[relation][wording.relation_word] if wording.where else [("and", "CC")]
        words += _noun_phrase(scene.things[order[1]], wording.mentions[order[1]], wording)
    elif wording.where:
        words += _PARSED_PLACES[relation]
    for thing, mention in zip(scene.things[2:], wording.mentions[2:], strict=True):
        words += [("and", "CC"), *_noun_phrase(thing, mention, wording)]
    if wording.background:
        words += [("on", "IN"), ("a", "DT"), (scene.background, "JJ"), ("background", "NN")]
    return _annotate(words)


def _noun_phrase(thing: Thing, mention: Mention, wording: Wording) -> Words:
    words: Words = []
    if mention.size:
        words.append((_SIZE_WORDS[thing.size][wording.size_word], "JJ"))
    if mention.texture and thing.texture != "plain":
        words.append((thing.texture, "JJ"))
    if mention.colour:
        words.append((thing.colour, "JJ"))
    if thing.count > 1:
        return [(_NUMBERS[thing.count], "CD"), *words, (_plural(thing.shape), "NNS")]
    words.append((thing.shape, "NN"))
    return [("an" if words[0][0][0] in "aeiou" else "a", "DT"), *words]


def _plural(shape: str) -> str:
    return shape + ("es" if shape == "cross" else "s")


_SHAPE_OF = {word: shape for shape in SHAPES for word in (shape, _plural(shape))}


def names_held_out(text: str) -> bool:
    """Whether a caption of the grammar names a colour and a shape that no training picture shows together.

    >>> names_held_out("a red circle above a blue ring"), names_held_out("two red rings")
    (True, False)
    """
    return any(
        colour in COLOURS and noun in _SHAPE_OF and is_held_out(colour, _SHAPE_OF[noun])
        for colour, noun in pairwise(text.split())
    )


def _annotate(words: Words) -> AnnotatedCaption:
    tokens, at = [], 0
    for word, tag in words:
        tokens.append(Token(word, at, at + len(word), tag))
        at += len(word) + 1
    return AnnotatedCaption(" ".join(word for word, _ in words), tuple(tokens))


def vocabulary() -> list[str]:
    """Every word that the grammar can write, sorted."""
    words = {*COLOURS, *_SHAPE_OF, *BACKGROUNDS, *TEXTURES[1:], *_NUMBERS.values()}
    words |= {word for forms in _SIZE_WORDS.values() for word in forms}
    phrases = [
        *_PARSED_FILLERS,
        *_PARSED_PLACES.values(),
        *(form for forms in _PARSED_RELATIONS.values() for form in forms),
    ]
    words |= {word for phrase in phrases for word, _ in phrase}
    return sorted(words | {"a", "an", "there", "is", "are", "and", "on", "background"})
