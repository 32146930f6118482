"""Benchmarks: pictures and captions in, named scores out."""

from lightning_cr.benchmarks.aro import AroAttribution, AroOrder, AroRelation
from lightning_cr.benchmarks.base import Benchmark, Score
from lightning_cr.benchmarks.caption_retrieval import CaptionRetrieval
from lightning_cr.benchmarks.evaluate import evaluate
from lightning_cr.benchmarks.labelled import Labelled, LabelledArrays
from lightning_cr.benchmarks.labelled_files import LabelledFile
from lightning_cr.benchmarks.labelled_folders import LabelledFolders
from lightning_cr.benchmarks.labelled_scenes import LabelledScenes
from lightning_cr.benchmarks.labelled_torchvision import LabelledTorchvision
from lightning_cr.benchmarks.linear_probe import LinearProbe
from lightning_cr.benchmarks.retrieval import HeldOutRetrieval
from lightning_cr.benchmarks.scenes import ScenesBenchmark
from lightning_cr.benchmarks.sugarcrepe import SugarCrepe, SugarCrepePP
from lightning_cr.benchmarks.valse import Valse
from lightning_cr.benchmarks.vl_checklist import VLCheckList
from lightning_cr.benchmarks.winoground import ImagePairs
from lightning_cr.benchmarks.zero_shot import ZeroShot

__all__ = [
    "AroAttribution",
    "AroOrder",
    "AroRelation",
    "Benchmark",
    "CaptionRetrieval",
    "HeldOutRetrieval",
    "ImagePairs",
    "Labelled",
    "LabelledArrays",
    "LabelledFile",
    "LabelledFolders",
    "LabelledScenes",
    "LabelledTorchvision",
    "LinearProbe",
    "ScenesBenchmark",
    "Score",
    "SugarCrepe",
    "SugarCrepePP",
    "VLCheckList",
    "Valse",
    "ZeroShot",
    "evaluate",
]
