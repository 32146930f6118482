"""Text negatives: captions that are false for the picture, made on the fly from true ones."""

from lightning_cr.negatives.text.base import AnnotatedCaption, Negative, TextRule, Token
from lightning_cr.negatives.text.concrete_plant import ConcretePlant
from lightning_cr.negatives.text.concreteness import Concreteness
from lightning_cr.negatives.text.generator import TextNegatives
from lightning_cr.negatives.text.replace_attribute import ReplaceAttribute
from lightning_cr.negatives.text.replace_object import ReplaceObject
from lightning_cr.negatives.text.replace_relation import ReplaceRelation
from lightning_cr.negatives.text.swap_attributes import SwapAttributes
from lightning_cr.negatives.text.swap_objects import SwapObjects

__all__ = [
    "AnnotatedCaption",
    "ConcretePlant",
    "Concreteness",
    "Negative",
    "ReplaceAttribute",
    "ReplaceObject",
    "ReplaceRelation",
    "SwapAttributes",
    "SwapObjects",
    "TextNegatives",
    "TextRule",
    "Token",
]
