"""Benchmarks: pictures and captions in, named scores out."""

from lightning_cr.benchmarks.aro import AroAttribution, AroOrder, AroRelation
from lightning_cr.benchmarks.base import Benchmark, Score
from lightning_cr.benchmarks.caption_retrieval import CaptionRetrieval
from lightning_cr.benchmarks.evaluate import evaluate
from lightning_cr.benchmarks.retrieval import HeldOutRetrieval
from lightning_cr.benchmarks.scenes import ScenesBenchmark
from lightning_cr.benchmarks.sugarcrepe import SugarCrepe, SugarCrepePP
from lightning_cr.benchmarks.valse import Valse
from lightning_cr.benchmarks.vl_checklist import VLCheckList
from lightning_cr.benchmarks.winoground import ImagePairs

__all__ = [
    "AroAttribution",
    "AroOrder",
    "AroRelation",
    "Benchmark",
    "CaptionRetrieval",
    "HeldOutRetrieval",
    "ImagePairs",
    "ScenesBenchmark",
    "Score",
    "SugarCrepe",
    "SugarCrepePP",
    "VLCheckList",
    "Valse",
    "evaluate",
]
