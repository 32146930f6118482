"""Where in a picture the thing is that a wrong caption changes, for pipelines that paint inside a mask."""

from __future__ import annotations

import json
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
"""Left, top, right and bottom as shares of the square that is cut from the centre of the picture."""
_LINE = '{"image_id": 1, "phrase": "dog", "box": [x, y, width, height], "size": [width, height]}'


class Boxes:
    """Boxes by picture and thing; a thing has several names ("sofa", "couch", "couches"), which are one here.

    Args:
        path: COCO's ``instances_*.json``, whose categories are matched to the replaced words; or a file of JSON lines
            ``{image_id, phrase, box: [x, y, width, height], size: [width, height]}`` in pixels, ``size`` the picture's.
        lexicon: Which words name the same thing; COCO's where None.

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
        for image_id, phrase, box, size in _lines(text, path) if path.suffix == ".jsonl" else _instances(text, path):
            inside = _in_square(box, size)
            if inside is not None:
                self._found[image_id, self._thing(phrase)].append(inside)

    def __call__(self, image_id: int, words: str) -> list[Box]:
        """All boxes of a thing in a picture: to change one dog of three makes no caption of dogs wrong.

        Args:
            image_id: Of the picture.
            words: The words that were replaced.

        Returns:
            None of them where the file has none, or none that the square shows.
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


def _in_square(box: Sequence[float], size: Sequence[float]) -> Box | None:
    """A box ``[x, y, width, height]`` in the square from the centre; None where that does not show it."""
    short = min(size)
    if short <= 0:
        return None
    (left, right), (top, bottom) = (
        [min(max((edge - (whole - short) / 2) / short, 0.0), 1.0) for edge in (start, start + length)]
        for start, length, whole in zip(box[:2], box[2:], size, strict=True)
    )
    return (left, top, right, bottom) if right > left and bottom > top else None


def _instances(text: str, path: Path) -> Iterator[tuple[int, str, Sequence[float], Sequence[float]]]:
    try:
        data = json.loads(text)
        names = {row["id"]: row["name"] for row in data["categories"]}
        sizes = {row["id"]: (row["width"], row["height"]) for row in data["images"]}
        rows = [(r["image_id"], names[r["category_id"]], r["bbox"], sizes[r["image_id"]]) for r in data["annotations"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"--data.boxes '{path}' is not COCO's instances_*.json ({error!r}); lines of JSON go into a file .jsonl:"
            f" {_LINE}"
        ) from error
    yield from rows


def _lines(text: str, path: Path) -> Iterator[tuple[int, str, Sequence[float], Sequence[float]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row: dict[str, Any] = json.loads(line)
            box, size = [float(x) for x in row["box"]], [float(x) for x in row["size"]]
            if len(box) != 4 or len(size) != 2:
                raise ValueError("a box has four numbers, a size two")
            yield int(row["image_id"]), str(row["phrase"]), box, size
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"--data.boxes '{path}', line {number}: {error!r}; a line is {_LINE}") from error
