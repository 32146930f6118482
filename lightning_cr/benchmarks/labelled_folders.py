"""Labelled pictures in a folder of each class, the layout of torchvision's ``ImageFolder``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from lightning_cr.benchmarks.labelled import Labelled, LabelledPart, Part, below
from lightning_cr.benchmarks.pictures import PictureFile
from lightning_cr.errors import DataError

__all__ = ["LabelledFolders"]


class LabelledFolders(Labelled):
    """``FOLDER/train|val|test/CLASS/*.jpg``, one label a picture.

    Args:
        folder: Relative to ``--data.root`` unless absolute; ``--data.root`` itself unless given.
        train: Folder of the part in it.
        val: Likewise; passed over where it is absent.
        test: Likewise; ``.`` where the classes lie in ``folder`` itself, and ``val`` for ImageNet (with ``val: ''``).
    """

    def __init__(self, folder: str = "", train: str = "train", val: str = "val", test: str = "test") -> None:
        self.folder, self.train, self.val, self.test = folder, train, val, test

    def open(self, root: Path | None, parts: Sequence[Part]) -> dict[Part, LabelledPart]:
        """See :class:`Labelled`; classes in the order of their names."""
        from torchvision.datasets import ImageFolder

        base = below(root, self.folder, "LabelledFolders")
        names: dict[Part, str] = {"train": self.train, "val": self.val, "test": self.test}
        found = {}
        for part in parts:
            folder = base / names[part]
            if part == "val" and not (names[part] and folder.is_dir()):
                continue
            try:
                # A class may be without pictures in one part, and is known by its folder all the same.
                found[part] = folder, ImageFolder(str(folder), allow_empty=True)
            except (OSError, FileNotFoundError) as error:
                why = "it is not there" if not folder.is_dir() else " ".join(str(error).split())
                raise DataError(
                    f"{folder} has no folder of each class ({why}); name another by init_args.data.init_args.{part},"
                    " which may be '.' for the folder itself"
                ) from None
        self.classes = sorted({name for _, images in found.values() for name in images.classes})
        place = {name: at for at, name in enumerate(self.classes)}
        return {
            part: LabelledPart(
                [PictureFile(Path(path).resolve()) for path, _ in images.samples],
                [Path(path).relative_to(folder).as_posix() for path, _ in images.samples],
                torch.tensor([place[images.classes[label]] for _, label in images.samples], dtype=torch.long),
            )
            for part, (folder, images) in found.items()
        }
