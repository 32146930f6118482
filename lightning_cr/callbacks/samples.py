"""A picture of what the model says: held-out images with their caption, its negatives, and the similarity of each."""

from __future__ import annotations

import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_cr.batch import Batch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Example", "draw_samples", "score_examples"]

_TRUE, _FALSE, _WRONG = "#3f9b6c", "#9aa0a8", "#d1602b"
_RIGHT, _ABOVE = ("\N{CHECK MARK} caption first", _TRUE), ("\N{BALLOT X} a negative is above", _WRONG)


@dataclass(frozen=True)
class Example:
    """An image with its texts, the true caption first.

    Attributes:
        image: ``(3, H, W)`` uint8.
        texts: The caption, then the negatives that exist.
        names: ``caption``, then the slot of each negative.
        similarities: Cosine of each text with the image.
    """

    image: Tensor
    texts: list[str]
    names: list[str]
    similarities: list[float]

    @property
    def correct(self) -> bool:
        """Whether the caption is above every negative; a tie is wrong."""
        return all(self.similarities[0] > other for other in self.similarities[1:])


@torch.no_grad()
def score_examples(encoder: Any, batch: Batch, device: torch.device) -> list[Example]:
    """Encodes a batch and pairs each image with its texts.

    It asks the encoder and not ``CompositionTask.features``, which gathers and would wait for the other processes.

    Args:
        encoder: An :class:`lightning_cr.encoders.base.Encoder`; its mode is kept.
        batch: With texts.
        device: Where the encoder is.
    """
    training = encoder.training
    encoder.eval()
    try:
        image = encoder.encode_image(batch.images.to(device)).float().cpu()
        text = encoder.encode_text(batch.tokens.to(device)).float().cpu()
    finally:
        encoder.train(training)
    similarity = image @ text.T
    examples = []
    for row, slots in enumerate(batch.negative_index.tolist()):
        rows = [row] + [index for index in slots if index >= 0]
        names = ["caption"] + [kind for kind, index in zip(batch.kinds, slots, strict=True) if index >= 0]
        found = [float(similarity[row, index]) for index in rows]
        examples.append(Example(batch.images[row].cpu(), [batch.texts[index] for index in rows], names, found))
    return examples


def draw_samples(path: Path, examples: list[Example], columns: int = 2) -> None:
    """Draws the examples: image on the left, its texts with a bar each on the right.

    Args:
        path: PNG to write.
        examples: What to draw.
        columns: Examples beside each other.
    """
    from matplotlib.figure import Figure

    rows = -(-len(examples) // columns)
    lines = max(len(example.texts) for example in examples)
    figure = Figure(figsize=(8.2 * columns, (0.44 * lines + 0.7) * rows + 0.4), dpi=110, layout="constrained")
    right = sum(example.correct for example in examples if len(example.texts) > 1)
    told = [example for example in examples if len(example.texts) > 1]
    figure.suptitle(
        f"held-out images: the caption is above all its negatives in {right} of {len(told)}"
        if told
        else "held-out images and their captions; the recipe makes no negatives",
        x=0.01,
        ha="left",
    )
    # One scale for all, so that lengths can be compared; cosines of a CLIP live in a narrow band.
    everything = [value for example in examples for value in example.similarities]
    low, high = min(0.0, *everything), max(*everything, 1e-6)
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.08)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(rows, 2 * columns, squeeze=False, width_ratios=[1, 2.9] * columns)
    for number in range(rows * columns):
        picture, bars = grid[number // columns][2 * (number % columns) : 2 * (number % columns) + 2]
        picture.axis("off")
        bars.axis("off")
        if number < len(examples):
            picture.imshow(examples[number].image.permute(1, 2, 0).numpy())
            text, colour = _RIGHT if examples[number].correct else _ABOVE
            picture.set_title(text, fontsize=9, color=colour, weight="bold")
            _draw_texts(bars, examples[number], lines, low, high)
    with warnings.catch_warnings():
        # Captions may be in a script that the font lacks: boxes in a picture are no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(path, format="png")


def _draw_texts(axes: Axes, example: Example, lines: int, low: float, high: float) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(lines - 0.5, -0.75)
    true = example.similarities[0]
    for y, (text, name, value) in enumerate(zip(example.texts, example.names, example.similarities, strict=True)):
        colour = _TRUE if y == 0 else _WRONG if value >= true else _FALSE
        axes.barh(y + 0.14, 0.86 * (value - low) / (high - low), height=0.2, left=0.0, color=colour)
        shown = textwrap.shorten(text, 70, placeholder=" ...") if " " in text[:70] else text[:70]
        axes.text(0, y - 0.08, shown, va="bottom", fontsize=9, parse_math=False, weight="bold" if y == 0 else None)
        axes.text(0.98, y - 0.08, name, va="bottom", ha="right", fontsize=8, color="#666666")
        axes.text(0.98, y + 0.14, f"{value:.3f}", va="center", ha="right", fontsize=9, color=colour, weight="bold")
