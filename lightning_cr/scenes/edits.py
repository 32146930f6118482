"""Edits of the graph: each gives a false caption that differs in one place, and the picture that it is true of.

The names are SugarCrepe's seven categories (2306.14610).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from lightning_cr.scenes.captions import Wording
from lightning_cr.scenes.graph import COLOURS, INVERSE, SHAPES, SIZES, TEXTURES, Scene, World, is_held_out

__all__ = ["EDITS", "Edit", "replace_colour", "replace_shape"]


@dataclass(frozen=True, slots=True)
class Edit:
    """A scene of which the edited caption is true.

    Attributes:
        scene: The edited scene.
        wording: How its caption is worded; the original wording, or with what the edit adds.
    """

    scene: Scene
    wording: Wording


def _replace_object(scene: Scene, wording: Wording, rng: random.Random) -> Edit | None:
    return replace_shape(scene, wording, rng, rng.randrange(len(scene.things)))


def replace_shape(scene: Scene, wording: Wording, rng: random.Random, index: int) -> Edit:
    """Gives one thing a shape that no thing of the scene has."""
    colour = scene.things[index].colour
    present = {thing.shape for thing in scene.things}
    shapes = [shape for shape in SHAPES if shape not in present and not is_held_out(colour, shape)]
    return Edit(scene.with_thing(index, shape=rng.choice(shapes)), wording)


def _replace_attribute(scene: Scene, wording: Wording, rng: random.Random) -> Edit | None:
    said = [
        (index, name)
        for index, mention in enumerate(wording.mentions)
        for name in ("size", "colour", "texture")
        if getattr(mention, name) and (name != "texture" or scene.things[index].texture != "plain")
    ]
    if not said:
        return None
    index, name = rng.choice(said)
    thing = scene.things[index]
    if name == "size":
        size = "small" if thing.size == "large" else "large"
        return Edit(scene.with_thing(index, size=size, radius=rng.uniform(*SIZES[size])), wording)
    if name == "texture":
        return Edit(scene.with_thing(index, texture=TEXTURES[3 - TEXTURES.index(thing.texture)]), wording)
    return replace_colour(scene, wording, rng, index)


def replace_colour(scene: Scene, wording: Wording, rng: random.Random, index: int) -> Edit:
    """Gives one thing a colour that no thing of the scene has."""
    present = {thing.colour for thing in scene.things}
    colours = [c for c in COLOURS if c not in present and not is_held_out(c, scene.things[index].shape)]
    return Edit(scene.with_thing(index, colour=rng.choice(colours)), wording)


def _replace_relation(scene: Scene, wording: Wording, rng: random.Random) -> Edit | None:
    if len(scene.things) < 2 or not wording.where:
        return None
    # The opposite alone: whether things stand side by side or one above the other is seen without telling them apart.
    return Edit(replace(scene, relation=INVERSE[scene.relation]), wording)


def _swap_objects(scene: Scene, wording: Wording, rng: random.Random) -> Edit | None:
    if len(scene.things) < 2 or scene.things[0].count != scene.things[1].count:
        return None  # "two circles" and "a square" would change the nouns' number too
    if not (wording.where or (wording.mentions[0].colour and wording.mentions[1].colour)):
        return None  # "a circle and a square" stays true
    first, second = scene.things[:2]
    return _unless_held_out(scene.with_thing(0, shape=second.shape).with_thing(1, shape=first.shape), wording)


def _swap_attributes(scene: Scene, wording: Wording, rng: random.Random) -> Edit | None:
    if len(scene.things) < 2 or not (wording.mentions[0].colour and wording.mentions[1].colour):
        return None
    first, second = scene.things[:2]
    return _unless_held_out(scene.with_thing(0, colour=second.colour).with_thing(1, colour=first.colour), wording)


def _add_object(scene: Scene, wording: Wording, rng: random.Random) -> Edit | None:
    if len(scene.things) != 2:
        return None
    shapes = [s for s in SHAPES if all(s != thing.shape for thing in scene.things)]
    colours = [c for c in COLOURS if all(c != thing.colour for thing in scene.things)]
    pairs = [(shape, colour) for shape in shapes for colour in colours if not is_held_out(colour, shape)]
    added = World(groups=0.0).draw_thing(rng, *rng.choice(pairs))
    mention = replace(wording.mentions[0], texture=added.texture != "plain")
    edited = replace(scene, things=(*scene.things, added))
    return Edit(edited, replace(wording, mentions=(*wording.mentions, mention)))


def _add_attribute(scene: Scene, wording: Wording, rng: random.Random) -> Edit | None:
    unsaid = [
        (index, name)
        for index, mention in enumerate(wording.mentions)
        for name in ("size", "colour", "texture")
        if not getattr(mention, name) and (name != "texture" or scene.things[index].texture == "plain")
    ]
    if not unsaid:
        return None
    index, name = rng.choice(unsaid)
    mentions = list(wording.mentions)
    mentions[index] = replace(mentions[index], **{name: True})
    thing = scene.things[index]
    if name == "size":
        size = "small" if thing.size == "large" else "large"
        edited = scene.with_thing(index, size=size, radius=rng.uniform(*SIZES[size]))
    elif name == "texture":
        edited = scene.with_thing(index, texture=rng.choice(TEXTURES[1:]))
    else:
        edited = replace_colour(scene, wording, rng, index).scene
    return Edit(edited, replace(wording, mentions=tuple(mentions)))


def _unless_held_out(scene: Scene, wording: Wording) -> Edit | None:
    return None if any(thing.held_out for thing in scene.things) else Edit(scene, wording)


EDITS: dict[str, Callable[[Scene, Wording, random.Random], Edit | None]] = {
    "replace_obj": _replace_object,
    "replace_att": _replace_attribute,
    "replace_rel": _replace_relation,
    "swap_obj": _swap_objects,
    "swap_att": _swap_attributes,
    "add_obj": _add_object,
    "add_att": _add_attribute,
}
"""Category to the function that edits a scene; it returns None where the caption gives no occasion."""
