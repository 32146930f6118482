"""Logistic regression by L-BFGS in float64: multinomial for one label a row, one against the rest for several."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

__all__ = ["TOLERANCE", "Logistic", "Scaling", "fit"]

TOLERANCE = 1e-5
"""It has converged where no part of the gradient of the mean loss is larger; scikit-learn asks for 1e-4."""

_AT_ONCE = 1 << 22  # logits held at once


@dataclass(frozen=True)
class Logistic:
    """A fitted regression: logits are ``features @ weight + bias``.

    Attributes:
        weight: ``(D, K)`` float64.
        bias: ``(K,)`` float64, without a penalty.
        steps: Of L-BFGS.
        gradient: Largest part of the gradient of the mean loss at the end.
    """

    weight: Tensor
    bias: Tensor
    steps: int
    gradient: float

    @property
    def converged(self) -> bool:
        """Whether the gradient is at most :data:`TOLERANCE`."""
        return self.gradient <= TOLERANCE

    def __call__(self, features: Tensor) -> Tensor:
        """Logits ``(N, K)`` of features ``(N, D)``."""
        return features @ self.weight + self.bias


class Scaling:
    """Centred features, each divided by its standard deviation, or all by one number.

    The one number changes nothing of the solution (:attr:`factor` puts the penalty right), but the steps to it are
    fewer: CLIP's vectors share a large mean and are small in each number.

    Args:
        features: ``(N, D)``, those that are fitted.
        each: Whether each feature has its own number; one that does not vary is left as it is.

    Attributes:
        factor: What the strength C of a penalty on the features as they came is multiplied with.
    """

    def __init__(self, features: Tensor, each: bool) -> None:
        self.mean = features.mean(0)
        deviation = features.var(0, correction=0)
        self.scale = (deviation if each else deviation.mean()).sqrt()
        self.scale = torch.where(self.scale > 0, self.scale, 1.0)
        self.factor = 1.0 if each else float(self.scale) ** 2

    def __call__(self, features: Tensor) -> Tensor:
        """``(N, D)`` float64."""
        return (features.double() - self.mean) / self.scale


def fit(
    features: Tensor, labels: Tensor, classes: int, strength: float, max_steps: int, start: Logistic | None = None
) -> Logistic:
    """Minimises ``C sum_i loss_i + |weight|^2 / 2``, as scikit-learn's ``LogisticRegression(C=C)`` does.

    Args:
        features: ``(N, D)`` float64.
        labels: ``(N,)`` classes: softmax and cross-entropy. ``(N, K)`` of 1, 0, and -1 for pairs that do not count: a
            sigmoid and the binary cross-entropy of each class by itself; one that lacks a 1 or a 0 stays at zero.
        classes: K.
        strength: C; the smaller, the stronger is the regularisation.
        max_steps: Of L-BFGS, with line search by the strong Wolfe conditions and a memory of ten steps.
        start: Where to start; unless given from no weight, and a bias that gives each class its share.
    """
    count, width = features.shape
    several = labels.ndim == 2
    if several:
        counted = (labels >= 0) & (labels == 1).any(0) & (labels == 0).any(0)
    parameters = torch.zeros(width + 1, classes, dtype=torch.float64)
    if start is not None:
        parameters[:-1], parameters[-1] = start.weight, start.bias
    else:  # the bias has no penalty, so that under a strong one it is all there is to find, by hundreds of steps
        parameters[-1] = _chances(labels, classes)
    parameters.requires_grad_()
    parameters.grad = torch.zeros_like(parameters)
    size = max(1, _AT_ONCE // classes)

    @torch.no_grad()
    def mean_loss() -> float:
        """Of all rows, with the penalty; leaves its gradient."""
        weight, bias = parameters[:-1], parameters[-1]
        slope = torch.cat([weight / (strength * count), torch.zeros_like(bias)[None]])
        loss = float((weight**2).sum()) / (2 * strength * count)
        for at in range(0, count, size):
            rows, label = features[at : at + size], labels[at : at + size]
            logits = torch.addmm(bias, rows, weight)
            if several:
                true, here = (label == 1).double(), counted[at : at + size]
                loss -= float(logsigmoid(torch.where(label == 1, logits, -logits))[here].sum()) / count
                error = (logits.sigmoid() - true) * here / count
            else:
                logs = logits.log_softmax(1)
                loss -= float(logs.gather(1, label[:, None]).sum()) / count
                error = (logs.exp() - one_hot(label, classes)) / count
            slope[:-1] += rows.T @ error
            slope[-1] += error.sum(0)
        parameters.grad = slope
        return loss

    solver = torch.optim.LBFGS(
        [parameters],
        max_iter=max_steps,
        max_eval=25 * max_steps,  # as many as each line search may take, so that steps alone are counted
        history_size=10,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-15,  # it is the gradient that says when to stop
        line_search_fn="strong_wolfe",
    )
    solver.step(mean_loss)  # type: ignore[no-untyped-call]
    steps = int(solver.state[parameters]["n_iter"])
    mean_loss()  # the last evaluation of a line search need not be where it ended
    found = parameters.detach()
    return Logistic(found[:-1].clone(), found[-1].clone(), steps, float(parameters.grad.abs().max()))


def _chances(labels: Tensor, classes: int) -> Tensor:
    """``(K,)`` float64, logits of how often each class is there; 0 for one that is on no picture, or on all."""
    if labels.ndim == 2:
        yes, no = (labels == 1).sum(0).double(), (labels == 0).sum(0).double()
        return torch.where((yes > 0) & (no > 0), yes.log() - no.log(), 0.0)
    count = torch.bincount(labels, minlength=classes).double()
    logs = count.clamp_min(0.5).log()
    return logs - logs.mean()
