"""What a run leaves and how it stops: table, results.json, pictures, progress, and checkpoints that are not lost."""

from lightning_cr.callbacks.average import AverageWeights
from lightning_cr.callbacks.best import BestCheckpoint
from lightning_cr.callbacks.config import SaveConfig
from lightning_cr.callbacks.embeddings import SaveEmbeddings
from lightning_cr.callbacks.files import check_run_folder
from lightning_cr.callbacks.interrupt import GracefulStop, Interrupted
from lightning_cr.callbacks.last import LastCheckpoint
from lightning_cr.callbacks.progress import Progress
from lightning_cr.callbacks.report import RunReport
from lightning_cr.callbacks.rescue import RescueCheckpointIO
from lightning_cr.callbacks.throughput import Throughput

__all__ = [
    "AverageWeights",
    "BestCheckpoint",
    "GracefulStop",
    "Interrupted",
    "LastCheckpoint",
    "Progress",
    "RescueCheckpointIO",
    "RunReport",
    "SaveConfig",
    "SaveEmbeddings",
    "Throughput",
    "check_run_folder",
]
