"""The contact sheet: original and caption beside the picture that was made and its wrong caption."""

from __future__ import annotations

import base64
import html
import io
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from lightning_cr.data.coco import CocoSplit
from lightning_cr.errors import DataError
from lightning_cr.files import reason, whole_file
from lightning_cr.images import UnreadableImage, read_image
from lightning_cr.negatives.image.store import PictureStore

__all__ = ["SheetRow", "sheet_rows", "write_sheet"]

_SIDE = 192
_STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:60em;color:#222}"
    "div{display:flex;gap:1em;margin:0 0 1.2em;align-items:flex-start}"
    f"figure{{margin:0;width:{_SIDE}px}}img{{width:100%;border-radius:4px;display:block}}"
    "p{margin:0 0 .5em}.k{color:#777;font-size:13px}mark{background:#fbe3d6}"
)


@dataclass(frozen=True)
class SheetRow:
    """One pair.

    Attributes:
        row: Of the store.
        original: The picture of the caption; None where it cannot be read.
        picture: That of the wrong caption.
    """

    row: dict[str, Any]
    original: Image.Image | None
    picture: Image.Image

    @property
    def scores(self) -> str:
        """Kind and margins, for a person."""
        margins = [
            f"{name.partition('_')[0]} margin {self.row[name]:+.3f}"
            for name in ("text_margin", "image_margin")
            if self.row[name] is not None
        ]
        return ", ".join([self.row["kind"], *margins])


def sheet_rows(store: PictureStore, keys: Any, split: CocoSplit, count: int) -> list[SheetRow]:
    """An even choice of what was made, always the same of the same store.

    Args:
        store: Where the pictures are.
        keys: The keys to choose from.
        split: Where the originals are.
        count: Pairs at most.
    """
    import pyarrow.compute as compute

    rows = store.rows
    of_this_run = compute.is_in(rows["key"], keys.combine_chunks())
    found = compute.and_(of_this_run, compute.greater(rows["size"], 0)).to_numpy(zero_copy_only=False).nonzero()[0]
    # Keys are digests: the least of them are a random sample that no order of writing changes.
    chosen = sorted(found.tolist(), key=lambda at: str(rows["key"][at].as_py()))[:count]
    pairs = []
    for at in chosen:
        row = {name: rows[name][at].as_py() for name in rows.schema.names}
        try:
            original = _small(read_image(split.image_path(row["image_id"])))
        except UnreadableImage:
            original = None
        pairs.append(SheetRow(row, original, _small(store.image(at))))
    return pairs


def write_sheet(folder: Path, rows: Sequence[SheetRow]) -> None:
    """Writes ``sheet.html``, which needs no other file, and ``sheet.png``.

    Args:
        folder: Where to.
        rows: What to show.

    Raises:
        DataError: They cannot be written.
    """
    try:
        with whole_file(folder / "sheet.html") as file:
            file.write(_html(rows).encode())
        with whole_file(folder / "sheet.png") as file:
            _draw(file, rows)
    except OSError as error:
        raise DataError(f"{folder / 'sheet.html'} cannot be written ({reason(error)}); free space") from error


def _small(image: Image.Image) -> Image.Image:
    image.thumbnail((_SIDE, _SIDE))
    return image


def _html(rows: Sequence[SheetRow]) -> str:
    body = "".join(
        f"<div><figure>{_tag(pair.original)}</figure><figure>{_tag(pair.picture)}</figure>"
        f"<section><p>{html.escape(pair.row['caption'])}</p><p><mark>{html.escape(pair.row['negative'])}</mark></p>"
        f"<p class=k>{html.escape(pair.scores)}</p></section></div>\n"
        for pair in rows
    )
    return (
        f"<!doctype html><meta charset=utf-8><title>Pictures of wrong captions</title><style>{_STYLE}</style>\n"
        f"<h1>Captions and wrong captions</h1>\n{body}"
    )


def _tag(image: Image.Image | None) -> str:
    if image is None:
        return "the original cannot be read"
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80)
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}">'


def _draw(file: Any, rows: Sequence[SheetRow], columns: int = 2) -> None:
    from matplotlib.figure import Figure

    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(7.2 * columns, 1.7 * lines), dpi=90, layout="constrained")
    grid = figure.subplots(lines, 3 * columns, squeeze=False, width_ratios=[1, 1, 2.2] * columns)
    for axes in grid.flat:
        axes.axis("off")
    for number, pair in enumerate(rows):
        left, middle, right = grid[number // columns][3 * (number % columns) :][:3]
        for axes, image in ((left, pair.original), (middle, pair.picture)):
            if image is not None:
                axes.imshow(image)
        for y, text, colour in ((1.0, "caption", "#222222"), (0.5, "negative", "#b3491d")):
            shown = textwrap.fill(textwrap.shorten(pair.row[text], 130, placeholder=" ..."), 44)
            right.text(0, y, shown, va="top", fontsize=8, color=colour, parse_math=False)
        right.text(0, 0.0, pair.scores, va="bottom", fontsize=7, color="#777777")
    with warnings.catch_warnings():
        # Captions may be in a script that the font lacks: boxes in a picture are no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(file, format="png")
