"""Two or more measurements side by side: ``python -m lightning_cr compare``."""

from lightning_cr.compare.command import HELP, make_parser, run

__all__ = ["HELP", "make_parser", "run"]
