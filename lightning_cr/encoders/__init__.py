"""Encoders: captions and pixels in, unit vectors out. :func:`build_encoder` is the door."""

from lightning_cr.encoders.architecture import encoder_names
from lightning_cr.encoders.base import Encoder, EncoderConfig, Preprocess, Tokenizer
from lightning_cr.encoders.build import build_encoder
from lightning_cr.encoders.checkpoint import describe, save_weights
from lightning_cr.encoders.initial import Start, fingerprint
from lightning_cr.encoders.preprocess import resize_and_crop
from lightning_cr.encoders.words import WordTokenizer

__all__ = [
    "Encoder",
    "EncoderConfig",
    "Preprocess",
    "Start",
    "Tokenizer",
    "WordTokenizer",
    "build_encoder",
    "describe",
    "encoder_names",
    "fingerprint",
    "resize_and_crop",
    "save_weights",
]
