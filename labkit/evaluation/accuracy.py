"""Accuracy, on clean inputs and under attack, as rates that state what they count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.attacks.result import AttackResult
from labkit.attacks.views import Model, held_still
from labkit.device import model_device
from labkit.progress import progress
from labkit.rates import Rate
from labkit.threats import Ball

Attack = Callable[[Model, Tensor, Tensor, Ball], AttackResult]


def logits_of(model: Model, x: Tensor, batch_size: int = 512) -> Tensor:
    """Return the model's answers on x (N, ...) as (N, K) on x's device: evaluation mode, in batches, without gradients."""
    device = model_device(model, x)
    with held_still(model), torch.no_grad():
        parts = [model(x[i : i + batch_size].to(device)).to(x.device) for i in range(0, max(len(x), 1), batch_size)]
    return torch.cat(parts)


def accuracy(model: Model, x: Tensor, y: Tensor, batch_size: int = 512) -> Rate:
    """Return how many of the inputs x (N, ...) get their label y (N,)."""
    return Rate(int((logits_of(model, x, batch_size).argmax(1) == y).sum()), len(y), "inputs")


@dataclass(frozen=True)
class Evaluation:
    """The worst case over several attacks: an input counts as robust only if every attack failed on it.

    ``results``: each attack's own result, by name, in the order run. ``success``: (N,) bool, some attack met its goal.
    """

    results: Mapping[str, AttackResult]
    success: Tensor

    @property
    def robust_accuracy(self) -> Rate:
        """Inputs that no attack turned, over all inputs."""
        return Rate(int((~self.success).sum()), len(self.success), "inputs")

    def rows(self) -> list[tuple[str, Rate]]:
        """Return (attack, robust accuracy under it), and last the worst case over all of them."""
        each = [(name, result.robust_accuracy) for name, result in self.results.items()]
        return [*each, ("worst case", self.robust_accuracy)]


def evaluate(model: Model, x: Tensor, y: Tensor, threat: Ball, attacks: Mapping[str, Attack]) -> Evaluation:
    """Run every attack on all inputs and take the worst case per input.

    Raises ValueError when ``attacks`` is empty, or when one is targeted: an input that misses its target may still be answered wrongly.
    """
    if not attacks:
        raise ValueError("evaluate needs at least one attack")
    results = {name: attack(model, x, y, threat) for name, attack in progress(list(attacks.items()), "attacks")}
    worst = torch.stack([_turned(result) for result in results.values()]).any(0)
    return Evaluation(results, worst)


def _turned(result: AttackResult) -> Tensor:
    if result.meta.get("targeted"):
        raise ValueError("a targeted attack does not measure robust accuracy: not reaching the target is not being right")
    return result.success


def robustness_curve(model: Model, x: Tensor, y: Tensor, attack: Attack, threats: Iterable[Ball]) -> list[tuple[float, Rate]]:
    """Return (eps, robust accuracy) for each threat, from the smallest eps to the largest.

    An input broken at a smaller budget stays broken at a larger one: it is inside the larger ball too. It is not attacked again.
    Raises ValueError for balls of different norms or value boxes, where that would not hold.
    """
    balls = sorted(threats, key=lambda ball: ball.eps)
    if len({(ball.norm, ball.low, ball.high) for ball in balls}) > 1:
        raise ValueError(f"a curve is over budgets of one threat, got {', '.join(map(repr, balls))}")
    broken = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    points = []
    for ball in progress(balls, "budgets"):
        left = ~broken
        if ball.eps == 0:
            answer = logits_of(model, x).argmax(1) != y
            broken |= answer
        elif bool(left.any()):
            broken[left.nonzero().squeeze(1)] = _turned(attack(model, x[left], y[left], ball))
        points.append((ball.eps, Rate(int((~broken).sum()), len(y), "inputs")))
    return points
