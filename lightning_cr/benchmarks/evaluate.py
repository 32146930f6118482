"""Measuring: one benchmark on given similarities, or any model's two functions on several benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_cr.benchmarks.base import Benchmark, Measurement, Picture, Score, Scoring, Similarity
from lightning_cr.benchmarks.blind import OfCaptions, ShorterCaption
from lightning_cr.benchmarks.likelihood import likelihoods
from lightning_cr.benchmarks.suite import Suite
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError

__all__ = ["evaluate", "measure"]


def measure(
    benchmark: Benchmark, similarity: Similarity, scoring: Scoring, likelihood: Mapping[str, float] | None = None
) -> Measurement:
    """Judges and scores; with intervals also what the shorter caption gets, and with likelihoods the likelier one."""
    judged = benchmark.judge(similarity)
    scores = benchmark.score(judged, scoring)
    shorter = _blind(benchmark, ShorterCaption(benchmark.captions)) if scoring.resamples else {}
    if likelihood is None:
        return Measurement(judged, scores, shorter)
    values = torch.tensor([likelihood[text] for text in benchmark.captions])
    return Measurement(judged, scores, shorter, _blind(benchmark, OfCaptions(values)))


def _blind(benchmark: Benchmark, similarity: Similarity) -> dict[str, Score]:
    """What a similarity gets that sees the captions alone, where that makes sense."""
    if not benchmark.blind:
        return {}
    found, allowed = benchmark.score(benchmark.judge(similarity), Scoring(benchmark.blind, 0)), benchmark.blind_subsets
    return {name: score for name, score in found.items() if allowed is None or name in allowed}


@torch.no_grad()
def evaluate(
    encode_image: Callable[[Tensor], Tensor],
    encode_text: Callable[[list[str]], Tensor],
    benchmarks: Mapping[str, Benchmark],
    preprocess: Preprocess,
    root: str | Path | None = None,
    batch_size: int = 256,
    scoring: Scoring = Scoring(),  # noqa: B008 (never changed in place)
) -> dict[str, Measurement]:
    """Measures a model that is not ours; each picture and each caption is encoded once.

    ::

        found = evaluate(image, text, {"sugarcrepe": SugarCrepe("data/sugarcrepe")}, Preprocess(224, mean, std), "COCO")
        found["sugarcrepe"].scores["sugarcrepe/mean of 7"]

    Args:
        encode_image: ``(N, 3, S, S)`` uint8 pixels, resized and cropped as ``preprocess`` says but not normalised, to
            ``(N, D)``.
        encode_text: N captions to ``(N, D)``.
        benchmarks: By name.
        preprocess: Of the pictures; mean and standard deviation are not used.
        root: Folder of the data.
        batch_size: Pictures or captions encoded at once.
        scoring: What a tie counts, the intervals, and a language model for the blind column.

    Raises:
        ConfigError: No benchmark, or a batch size below 1.
        DataError: A benchmark's data is missing, or the model gives vectors of the wrong shape or that are no number.
    """
    if not benchmarks or batch_size < 1:
        raise ConfigError(
            f"evaluate got {len(benchmarks)} benchmarks and batch_size {batch_size}; both must be 1 or more"
        )
    folder = Path(root).expanduser() if root else None
    for benchmark in benchmarks.values():
        benchmark.open(folder, preprocess, _NoPictures())
    suite = Suite(benchmarks)
    likelihood = likelihoods(suite.captions, scoring)

    def shown(at: int) -> Tensor:
        rows = suite.pictures[at : at + batch_size]
        return encode_image(torch.stack([picture.pixels(preprocess) for picture in rows]))

    image = _vectors("encode_image", shown, len(suite.pictures), batch_size)
    text = (
        _vectors(
            "encode_text", lambda at: encode_text(suite.captions[at : at + batch_size]), len(suite.captions), batch_size
        )
        if suite.captions
        else image.new_zeros(0, image.shape[1])
    )  # a probe has none
    if image.shape[1] != text.shape[1]:
        raise DataError(
            f"encode_image gives vectors of {image.shape[1]} numbers, encode_text of {text.shape[1]}; both must end in"
            " the same space"
        )
    return {
        name: measure(benchmark, suite.similarity(name, image, text), scoring, likelihood)
        for name, benchmark in benchmarks.items()
    }


def _vectors(name: str, encode: Callable[[int], Tensor], count: int, size: int) -> Tensor:
    """Unit vectors, checked."""
    parts = []
    for at in range(0, count, size):
        found, wanted = torch.as_tensor(encode(at)), min(size, count - at)
        if found.ndim != 2 or len(found) != wanted:
            raise DataError(f"{name} gave a tensor of shape {tuple(found.shape)} for {wanted} inputs; wanted is (N, D)")
        if not bool(found.isfinite().all()):
            raise DataError(f"{name} gave numbers that are none (NaN or infinite) for inputs {at} to {at + wanted - 1}")
        parts.append(normalize(found.detach().cpu().float(), dim=1))
    return torch.cat(parts)


class _NoPictures:
    """For benchmarks that need no held-out split."""

    pictures = 0

    def picture(self, index: int) -> Picture:
        raise IndexError(index)

    def captions(self, index: int) -> list[str]:
        raise IndexError(index)
