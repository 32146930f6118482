"""The loss curve: recorded cheaply, thinned, and drawn beside the benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_cr.callbacks.table import SEVEN, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LossCurve", "draw_curves"]

_INK = "#222222"
_COLOURS = ("#3b6fb6", "#d1602b", "#3f9b6c", "#8a5fb0", "#c2447f", "#8c6d46", "#2f9eb3", "#a3a23a", "#6d7887")
_MUTED = ("#8b8f96", "#b9975b", "#7396ad", "#ab7f9c", "#85a27f")
_BESIDE = ("hard_positive", "winoground/group", "held_out_pairs", "retrieval/i2t_r@1", "retrieval/t2i_r@1")


class LossCurve:
    """Values of named losses by step; when there are too many, every other one is dropped.

    Args:
        limit: Most points kept.
    """

    def __init__(self, limit: int = 2000) -> None:
        self.limit = limit
        self.stride = 1
        self.steps: list[int] = []
        self.values: dict[str, list[float | None]] = {}
        self._pending: list[tuple[int, dict[str, Tensor]]] = []
        self._noted = 0  # with accumulated gradients a step has several batches; the first stands for it

    def add(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Notes the values of a step, counted from 1; they are fetched later, so that no step waits for the device."""
        if step % self.stride or step == self._noted:
            return
        self._noted = step
        self._pending.append((step, {name: value.detach() for name, value in values.items()}))
        if len(self._pending) >= 50:
            self.flush()

    def flush(self) -> None:
        """Fetches what was noted."""
        pending, self._pending = self._pending, []
        tensors = [value.float().reshape(()) for _, values in pending for value in values.values()]
        numbers = iter(torch.stack(tensors).tolist() if tensors else [])
        for step, values in pending:
            if step % self.stride:
                for _ in values:
                    next(numbers)
                continue
            for name in values:
                number = next(numbers)
                column = self.values.setdefault(name, [None] * len(self.steps))
                column.append(number if math.isfinite(number) else None)
            self.steps.append(step)
            for column in self.values.values():
                column.extend([None] * (len(self.steps) - len(column)))
            if len(self.steps) > self.limit:
                self._thin()

    def _thin(self) -> None:
        self.stride *= 2
        kept = [index for index, step in enumerate(self.steps) if step % self.stride == 0]
        self.steps = [self.steps[index] for index in kept]
        self.values = {name: [column[index] for index in kept] for name, column in self.values.items()}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain numbers."""
        self.flush()
        return {
            "stride": self.stride,
            "steps": list(self.steps),
            "values": {k: list(v) for k, v in self.values.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self._pending = []
        self.stride, self.steps, self.values = state["stride"], list(state["steps"]), dict(state["values"])


def draw_curves(path: Path, curve: LossCurve, history: Sequence[tuple[int, Scores]], title: str = "") -> None:
    """Draws losses (left) and scores (right) over steps.

    Args:
        path: PNG to write.
        curve: The losses.
        history: Step and scores of each validation, that before the first step included.
        title: Line above both panels.
    """
    from matplotlib.figure import Figure

    curve.flush()
    figure = Figure(figsize=(13.5, 4.8), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    if title:
        figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    _draw_losses(left, curve)
    _draw_scores(right, history)
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png")


def _draw_losses(axes: Axes, curve: LossCurve) -> None:
    axes.set_title("training loss and its terms", fontsize=11, loc="left")
    if not curve.steps:
        _empty(axes, "no training step was taken")
        return
    terms = sorted(name for name in curve.values if name != "loss")
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(terms)} | {"loss": _INK}
    for name in ("loss", *terms):
        points = [(s, v) for s, v in zip(curve.steps, curve.values.get(name, []), strict=False) if v is not None]
        if not points:
            continue
        steps, values = zip(*points, strict=True)
        label = "loss (weighted sum)" if name == "loss" else name.removeprefix("train/")
        axes.plot(steps, values, color=colours[name], alpha=0.22, linewidth=0.8)
        axes.plot(steps, _smooth(values), color=colours[name], linewidth=2.2 if name == "loss" else 1.5, label=label)
    axes.margins(x=0.02)
    axes.legend(frameon=False, fontsize=9)


def _draw_scores(axes: Axes, history: Sequence[tuple[int, Scores]]) -> None:
    axes.set_title("benchmark accuracy, %", fontsize=11, loc="left")
    names = dict.fromkeys(name for _, scores in history for name in scores)
    if not names:
        _empty(axes, "no validation was run")
        return
    mean = [name for name in names if name.startswith("mean of")]
    seven = [name for name in names if name.rsplit("/", 1)[-1] in SEVEN]
    beside = [name for name in names if name in _BESIDE]
    if not seven and not beside:
        seven = list(names)[: len(_COLOURS)]
    for i, name in enumerate(seven):
        _line(axes, history, name, color=_COLOURS[i % len(_COLOURS)], linewidth=1.5)
    for name in mean:
        _line(axes, history, name, color=_INK, linewidth=2.6)
    for i, name in enumerate(beside):
        _line(axes, history, name, color=_MUTED[i % len(_MUTED)], linewidth=1.4, linestyle=(0, (4, 1.5)), markersize=0)
    if any(name in SEVEN for name in seven):
        axes.axhline(50, color=_INK, linewidth=0.9, linestyle=":", zorder=0, label="chance, choice of two")
    axes.set_ylim(0, 102)
    axes.margins(x=0.03)
    axes.legend(frameon=False, fontsize=8.5, handlelength=2.6, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _line(axes: Axes, history: Sequence[tuple[int, Scores]], name: str, **style: Any) -> None:
    found = [(step, scores.get(name, {}).get("accuracy")) for step, scores in history]
    points = [(step, 100 * value) for step, value in found if value is not None]
    if points:
        steps, values = zip(*points, strict=True)
        size = style.pop("markersize", 3.5 if len(points) < 25 else 0)
        size = size if len(points) > 1 else 5  # a line of one point is invisible
        axes.plot(steps, values, label=name, marker="o", markersize=size, **style)


def _smooth(values: Sequence[float]) -> list[float]:
    """Exponential mean over about a fortieth of the points, without a bias to the start."""
    keep = 1 - 1 / max(1.0, len(values) / 40)
    smoothed, mean, weight = [], 0.0, 0.0
    for value in values:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        smoothed.append(mean / weight)
    return smoothed


def _empty(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#666666")
