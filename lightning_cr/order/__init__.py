"""Shuffled captions for ARO's order tests, written once: ``python -m lightning_cr order``."""

from lightning_cr.order.command import HELP, make_parser, run

__all__ = ["HELP", "make_parser", "run"]
