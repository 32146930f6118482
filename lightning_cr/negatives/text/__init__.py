"""Text negatives: captions that are false for the picture, made on the fly from true ones."""

from lightning_cr.negatives.text.add_attribute import AddAttribute
from lightning_cr.negatives.text.add_object import AddObject
from lightning_cr.negatives.text.base import AnnotatedCaption, Negative, TextRule, Token
from lightning_cr.negatives.text.concrete_plant import ConcretePlant
from lightning_cr.negatives.text.concreteness import Concreteness
from lightning_cr.negatives.text.generator import TextNegatives
from lightning_cr.negatives.text.masked_fill import MaskedFill
from lightning_cr.negatives.text.replace_attribute import ReplaceAttribute
from lightning_cr.negatives.text.replace_object import ReplaceObject
from lightning_cr.negatives.text.replace_relation import ReplaceRelation
from lightning_cr.negatives.text.shuffle_words import ShuffleWords
from lightning_cr.negatives.text.swap_attributes import SwapAttributes
from lightning_cr.negatives.text.swap_noun_phrases import SwapNounPhrases
from lightning_cr.negatives.text.swap_objects import SwapObjects

__all__ = [
    "AddAttribute",
    "AddObject",
    "AnnotatedCaption",
    "ConcretePlant",
    "Concreteness",
    "MaskedFill",
    "Negative",
    "ReplaceAttribute",
    "ReplaceObject",
    "ReplaceRelation",
    "ShuffleWords",
    "SwapAttributes",
    "SwapNounPhrases",
    "SwapObjects",
    "TextNegatives",
    "TextRule",
    "Token",
]
