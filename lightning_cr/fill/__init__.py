"""Fills words into captions by a masked language model, once a corpus: ``python -m lightning_cr fill``."""

from lightning_cr.fill.command import HELP, make_parser, run

__all__ = ["HELP", "make_parser", "run"]
