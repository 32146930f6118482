"""The embedded world: small pictures made from a scene graph, with captions, false captions and their true pictures."""

from lightning_cr.scenes.captions import Wording, caption, draw_wording, names_held_out, paraphrase
from lightning_cr.scenes.edits import EDITS, Edit, replace_colour, replace_shape
from lightning_cr.scenes.graph import Scene, Thing, World
from lightning_cr.scenes.render import RenderedScene, render, to_tensor

__all__ = [
    "EDITS",
    "Edit",
    "RenderedScene",
    "Scene",
    "Thing",
    "Wording",
    "World",
    "caption",
    "draw_wording",
    "names_held_out",
    "paraphrase",
    "render",
    "replace_colour",
    "replace_shape",
    "to_tensor",
]
