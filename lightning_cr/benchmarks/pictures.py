"""Pictures of benchmarks: files on the user's disk as it is, and arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from lightning_cr.encoders.base import Preprocess
from lightning_cr.encoders.preprocess import resize_and_crop
from lightning_cr.files import reason
from lightning_cr.images import UnreadableImage, read_image

__all__ = ["ArrayPicture", "PictureFile"]


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
            UnreadableImage: The file cannot be used, or the rectangle is not in it.
        """
        image = read_image(self.path)
        if self.box is not None:
            left, top, right, bottom = self.box
            if not (0 <= left < right and 0 <= top < bottom and left < image.width and top < image.height):
                raise UnreadableImage(
                    f"cannot use the rectangle {self.box} of {self.path}, which is {image.width}x{image.height};"
                    " take it out of the annotations"
                )
            image = image.crop(self.box)
        return resize_and_crop(image, preprocess, None)

    def content(self) -> bytes:
        """Digest of the file, and the rectangle.

        Raises:
            UnreadableImage: The file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UnreadableImage(f"cannot read the image {self.path}: {reason(error)}; fetch it again") from None
        return f"{digest} {self.box}".encode()


class ArrayPicture:
    """A picture in memory; equal pixels are one picture.

    Args:
        array: ``(H, W)`` or ``(H, W, 3)`` uint8.
    """

    def __init__(self, array: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        self.array = array
        self._content = hashlib.sha256(f"{array.shape}".encode() + np.ascontiguousarray(array).tobytes()).digest()

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayPicture) and self._content == other._content

    def content(self) -> bytes:
        """SHA-256 of shape and numbers, which decide the pixels."""
        return self._content

    def pixels(self, preprocess: Preprocess) -> Tensor:
        """``(3, S, S)`` uint8, the centre; grey becomes RGB."""
        return resize_and_crop(Image.fromarray(self.array), preprocess, None)
