"""AdamW's numbers, and the schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from lightning_cr.errors import ConfigError

__all__ = ["OptimizerConfig", "warmup_cosine"]


@dataclass
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay to zero, as open_clip and the papers train.

    Attributes:
        lr: Learning rate at its peak.
        weight_decay: Of matrices; 0 for gains, biases and the logit scale.
        beta1: Decay of the mean of gradients.
        beta2: Decay of the mean of squared gradients.
        eps: Added to the root of the second mean.
        warmup_steps: Steps to the peak, in equal parts of it.

    Raises:
        ConfigError: A value out of range.
    """

    lr: float = 1e-3
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-6
    warmup_steps: int = 50

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            limit, said = (1, "0 or more and below 1") if name.startswith("beta") else (math.inf, "0 or more")
            if not 0 <= value < limit:
                raise ConfigError(f"model.optimizer.{name} is {value}; it must be {said}")


def warmup_cosine(warmup: int, steps: float) -> Callable[[int], float]:
    """Factor on the learning rate at a step: equal parts up to 1, then half a cosine to 0, or 1 if steps is inf.

    A function and not an object, because LambdaLR would restore an object's number of steps over a longer run's.
    """
    warmup = int(min(warmup, steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return factor
