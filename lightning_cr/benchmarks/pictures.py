"""Pictures of benchmarks on the user's disk, as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lightning_cr.encoders.base import Preprocess
from lightning_cr.encoders.preprocess import resize_and_crop
from lightning_cr.images import read_image

__all__ = ["PictureFile"]


@dataclass(frozen=True)
class PictureFile:
    """A file, or a rectangle of it.

    Attributes:
        path: Resolved, so that one file is one picture under whatever name.
        box: Left, top, right and bottom in pixels; None for all of it.
    """

    path: Path
    box: tuple[int, int, int, int] | None = None

    def pixels(self, preprocess: Preprocess) -> Tensor:
        """``(3, S, S)`` uint8, the centre.

        Raises:
            UnreadableImage: The file cannot be used.
        """
        image = read_image(self.path)
        return resize_and_crop(image if self.box is None else image.crop(self.box), preprocess, None)

    def content(self) -> bytes:
        """The file's bytes, and the rectangle.

        Raises:
            OSError: It cannot be read.
        """
        return self.path.read_bytes() + repr(self.box).encode()
