"""The embedded world: what the graph says is what the picture shows and the caption tells."""

import itertools
import random
import re
from collections import Counter

import numpy as np
import pytest

from lightning_cr.scenes import EDITS, World, caption, draw_wording, names_held_out, paraphrase, render
from lightning_cr.scenes.captions import vocabulary
from lightning_cr.scenes.graph import COLOURS, RELATIONS

SCENES = range(300)


def drawn(index, **world):
    rng = random.Random(index)
    scene = World(**world).draw(rng)
    return rng, scene, draw_wording(scene, rng)


def centre(picture, colour):
    """Mean position of the pixels of a colour."""
    distance = np.abs(np.asarray(picture).astype(int) - COLOURS[colour]).sum(-1)
    rows, columns = np.nonzero(distance < 30)
    assert len(rows), f"no {colour} in the picture"
    return columns.mean(), rows.mean()


def test_the_same_seed_gives_the_same_scene_and_another_seed_another():
    assert drawn(3)[1:] == drawn(3)[1:]
    assert drawn(3)[1:] != drawn(4)[1:]


@pytest.mark.parametrize("size", [48, 64, 224])
def test_the_first_thing_stands_where_the_relation_says(size):
    for index in SCENES:
        _, scene, _ = drawn(index, one_thing=0.0, textures=0.0)
        picture = render(scene, size)
        assert picture.size == (size, size)
        (ax, ay), (bx, by) = (centre(picture, thing.colour) for thing in scene.things[:2])
        dx, dy = RELATIONS[scene.relation]
        along, across = (ax - bx) * dx + (ay - by) * dy, abs((ax - bx) * dy) + abs((ay - by) * dx)
        assert along > across, (index, scene)
        assert along > 0.2 * size


def test_scenes_are_unambiguous_and_held_out_pairs_stay_out():
    for index in SCENES:
        _, scene, _ = drawn(index)
        assert len({t.shape for t in scene.things}) == len({t.colour for t in scene.things}) == len(scene.things)
        assert not any(thing.held_out for thing in scene.things)
        assert any(thing.held_out for thing in drawn(index, held_out="only")[1].things)


def test_all_parts_of_the_world_occur():
    scenes = [drawn(index)[1] for index in range(2000)]
    assert {len(scene.things) for scene in scenes} == {1, 2, 3}
    assert {thing.count for scene in scenes for thing in scene.things} == {1, 2, 3}
    assert {thing.texture for scene in scenes for thing in scene.things} == {"plain", "striped", "dotted"}
    assert {scene.background for scene in scenes} == {"white", "gray", "beige"}
    assert len({(t.colour, t.shape) for scene in scenes for t in scene.things}) == 56


def test_captions_carry_exact_spans_and_right_articles():
    known = set(vocabulary())
    for index in SCENES:
        _, scene, wording = drawn(index)
        annotated = caption(scene, wording)
        assert all(annotated.text[t.start : t.end] == t.text for t in annotated.tokens)
        words = annotated.text.split()
        assert [token.text for token in annotated.tokens] == words
        assert set(words) <= known
        for article, following in itertools.pairwise(words):
            if article in ("a", "an"):
                assert (article == "an") == (following[0] in "aeiou"), annotated.text


def test_a_paraphrase_says_the_same_in_other_words():
    different = 0
    for index in SCENES:
        rng, scene, wording = drawn(index)
        other = paraphrase(wording, rng)
        assert other.mentions == wording.mentions
        assert other.background == wording.background
        before, after = caption(scene, wording).text, caption(scene, other).text
        different += before != after
        said = {thing.shape.rstrip("s") for thing in scene.things}
        assert all(any(word.startswith(shape) for word in after.split()) for shape in said)
    assert different > 0.9 * len(SCENES)


def test_a_caption_may_name_things_without_telling_where_they_stand():
    places = {"left", "right", "above", "below", "over", "under", "up", "down"}
    told = 0
    for index in SCENES:
        rng = random.Random(index)
        scene = World().draw(rng)
        wording = draw_wording(scene, rng, where=0.5)
        for text in (caption(scene, wording).text, caption(scene, paraphrase(wording, rng)).text):
            assert bool(places & set(text.split())) == wording.where, text
            assert wording.where or not re.search(r"\b(is|are) (and|on)\b", text), text
        told += wording.where
    assert 0.4 < told / len(SCENES) < 0.6


def test_held_out_pairs_are_recognised_in_captions():
    for index in SCENES:
        for kind in ("exclude", "only"):
            rng, scene, _ = drawn(index, held_out=kind)
            text = caption(scene, draw_wording(scene, rng, full=True)).text
            assert names_held_out(text) == (kind == "only"), text


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_caption_graph_and_picture(name):
    made = 0
    for index in SCENES:
        rng, scene, wording = drawn(index)
        edit = EDITS[name](scene, wording, rng)
        if edit is None:
            continue
        made += 1
        before, after = caption(scene, wording).text, caption(edit.scene, edit.wording).text
        assert before != after
        assert edit.scene != scene
        assert np.any(np.asarray(render(scene, 64)) != np.asarray(render(edit.scene, 64)))
        assert not any(thing.held_out for thing in edit.scene.things)
        words, others = before.split(), after.split()
        if name.startswith("swap"):
            assert Counter(w for w in words if w not in ("a", "an")) == Counter(
                w for w in others if w not in ("a", "an")
            )
        if name.startswith("add"):
            assert len(others) > len(words)
        if name in ("replace_att", "replace_obj"):
            assert len(others) == len(words)
            assert sum(a != b for a, b in zip(words, others, strict=True) if {a, b} != {"a", "an"}) >= 1
    assert made > 0.2 * len(SCENES)


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_caption_is_false_also_where_places_are_not_told(name):
    made = 0
    for index in range(2000):
        rng = random.Random(index)
        scene = World().draw(rng)
        wording = draw_wording(scene, rng, where=0.0)
        edit = EDITS[name](scene, wording, rng)
        if edit is None:
            continue
        made += 1
        said, other = (facts(s, w) for s, w in ((scene, wording), (edit.scene, edit.wording)))
        assert not fits(other, scene), (caption(scene, wording).text, caption(edit.scene, edit.wording).text)
        assert fits(said, scene)
    assert made > 0 or name == "replace_rel"


def facts(scene, wording):
    """What a caption without places says: for each thing its shape, number, and the qualities that are stated."""
    return [
        {"shape": thing.shape, "count": thing.count}
        | {name: getattr(thing, name) for name in ("size", "colour", "texture") if getattr(mention, name)}
        for thing, mention in zip(scene.things, wording.mentions, strict=True)
    ]


def fits(said, scene):
    """Whether each thing that is told of is in the scene."""
    return all(any(all(getattr(t, k) == v for k, v in one.items()) for t in scene.things) for one in said)


def test_a_replaced_relation_moves_the_things():
    for index in range(60):
        rng, scene, wording = drawn(index, one_thing=0.0, textures=0.0)
        edit = EDITS["replace_rel"](scene, wording, rng)
        picture = render(edit.scene, 64)
        (ax, ay), (bx, by) = (centre(picture, thing.colour) for thing in scene.things[:2])
        dx, dy = RELATIONS[scene.relation]
        assert (ax - bx) * dx + (ay - by) * dy < 0.2 * 64, "the old relation still holds"
