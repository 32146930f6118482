"""Data sources, and the data module that makes batches of them."""

from lightning_cr.data.base import ImageNegatives, Sample, Source, Split
from lightning_cr.data.coco import CocoFolder
from lightning_cr.data.given import GivenNegatives
from lightning_cr.data.nothing import OnlyBenchmarks
from lightning_cr.data.scenes import SceneEdits, Scenes
from lightning_cr.data.stored import StoredPictures

__all__ = [
    "CocoFolder",
    "GivenNegatives",
    "ImageNegatives",
    "OnlyBenchmarks",
    "Sample",
    "SceneEdits",
    "Scenes",
    "Source",
    "Split",
    "StoredPictures",
]
