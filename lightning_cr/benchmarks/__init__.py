"""Benchmarks: pictures and captions in, named scores out."""

from lightning_cr.benchmarks.base import Benchmark, Score
from lightning_cr.benchmarks.retrieval import HeldOutRetrieval
from lightning_cr.benchmarks.scenes import ScenesBenchmark

__all__ = ["Benchmark", "HeldOutRetrieval", "ScenesBenchmark", "Score"]
