"""Where in a picture the thing is that a wrong caption changes, for pipelines that paint inside a mask."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from lightning_cr.errors import DataError
from lightning_cr.negatives.text.lexicon import Lexicon
from lightning_cr.negatives.text.morphology import lemma

__all__ = ["Box", "Boxes", "mask"]

Box = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of the picture's width and height."""
_LINE = '{"image_id": 1, "phrase": "dog", "box": [x, y, width, height], "size": [width, height]}'


class Boxes:
    """Boxes by picture and thing; a thing has several names ("sofa", "couch", "couches"), which are one here.

    Args:
        path: COCO's ``instances_*.json``, whose categories are matched to the replaced words; or a file of JSON lines
            ``{image_id, phrase, box: [x, y, width, height], size: [width, height]}`` in pixels, ``size`` the picture's.
        lexicon: Which words name the same thing; COCO's where None.

    Attributes:
        digest: Of the file, 32 hexadecimal digits: another file, other pictures.

    Raises:
        DataError: The file cannot be read, or is neither; names the line.
    """

    def __init__(self, path: str | Path, lexicon: str | None = None) -> None:
        self._tables = Lexicon(lexicon).tables
        self._found: dict[tuple[int, str], list[Box]] = defaultdict(list)
        path = Path(path).expanduser()
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"--data.boxes '{path}' cannot be read ({error}); fetch it again") from error
        self.digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        for image_id, phrase, box in _lines(text, path) if path.suffix == ".jsonl" else _instances(text, path):
            if box is not None:
                self._found[image_id, self._thing(phrase)].append(box)

    def __call__(self, image_id: int, words: str) -> list[Box]:
        """All boxes of a thing in a picture: to change one dog of three makes no caption of dogs wrong.

        Args:
            image_id: Of the picture.
            words: The words that were replaced.

        Returns:
            None of them where the file has none, or none that lies in the picture.
        """
        return self._found.get((image_id, self._thing(words)), [])

    def _thing(self, words: str) -> str:
        words = words.lower().strip()
        phrases = self._tables.phrases.get(words.split(" ")[0] if words else "", ())
        entry = self._tables.words.get(words) or next((e for rest, e in phrases if " ".join(rest) == words), None)
        concept = entry.thing if entry else None
        if concept is None:
            return lemma(words, "NNS")
        # COCO has one category for all humans, whom captions call by what they are.
        human = "human" in self._tables.kinds.get(concept.group, ()) and concept.group != "persons"
        return "person" if human else concept.name


def mask(boxes: Sequence[Sequence[float]], size: int) -> Image.Image:
    """White where to paint, black elsewhere: ``size`` pixels square.

    Args:
        boxes: As :class:`Boxes` gives them.
        size: Side in pixels.
    """
    drawn = Image.new("L", (size, size), 0)
    for left, top, right, bottom in boxes:
        ImageDraw.Draw(drawn).rectangle((left * size, top * size, right * size - 1, bottom * size - 1), fill=255)
    return drawn


_Row = tuple[int, str, Box | None]
_BROKEN = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


def _row(image_id: Any, phrase: Any, box: Any, size: Any) -> _Row:
    """A picture, a thing, and its box ``[x, y, width, height]`` in shares; None where the picture does not show it."""
    left, top, width, height = (float(number) for number in box)
    whole = [float(number) for number in size]
    if len(whole) != 2 or not all(map(math.isfinite, (left, top, width, height, *whole))) or min(whole) <= 0:
        raise ValueError(f"box {box} of size {size}: a box is four numbers, a size two above 0")
    (left, right), (top, bottom) = (
        [min(max(edge / side, 0.0), 1.0) for edge in (start, start + length)]
        for start, length, side in ((left, width, whole[0]), (top, height, whole[1]))
    )
    shown = right > left and bottom > top
    return int(image_id), str(phrase), (left, top, right, bottom) if shown else None


def _instances(text: str, path: Path) -> Iterator[_Row]:
    try:
        data = json.loads(text)
        names = {row["id"]: row["name"] for row in data["categories"]}
        sizes = {row["id"]: (row["width"], row["height"]) for row in data["images"]}
        rows = [
            _row(r["image_id"], names[r["category_id"]], r["bbox"], sizes[r["image_id"]]) for r in data["annotations"]
        ]
    except _BROKEN as error:
        raise DataError(
            f"--data.boxes '{path}' is not COCO's instances_*.json ({error!r}); lines of JSON go into a file .jsonl:"
            f" {_LINE}"
        ) from error
    yield from rows


def _lines(text: str, path: Path) -> Iterator[_Row]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row: dict[str, Any] = json.loads(line)
            yield _row(row["image_id"], row["phrase"], row["box"], row["size"])
        except _BROKEN as error:
            raise DataError(f"--data.boxes '{path}', line {number}: {error!r}; a line is {_LINE}") from error
