"""Makes a picture of each wrong caption, once a corpus: ``python -m lightning_cr synthesize``."""

from lightning_cr.synthesize.command import HELP, make_parser, run

__all__ = ["HELP", "make_parser", "run"]
