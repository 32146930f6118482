"""What a run leaves and how it stops: table, results.json, pictures, progress, and checkpoints that are not lost."""

from lightning_cr.callbacks.files import check_run_folder
from lightning_cr.callbacks.interrupt import GracefulStop
from lightning_cr.callbacks.progress import Progress
from lightning_cr.callbacks.report import RunReport
from lightning_cr.callbacks.rescue import RescueCheckpointIO
from lightning_cr.callbacks.throughput import Throughput

__all__ = ["GracefulStop", "Progress", "RescueCheckpointIO", "RunReport", "Throughput", "check_run_folder"]
