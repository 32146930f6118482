"""A look at text negatives: ``python -m lightning_cr negatives``."""

from lightning_cr.look.command import HELP, make_parser, run

__all__ = ["HELP", "make_parser", "run"]
