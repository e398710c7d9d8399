"""Adversarial training: objectives that train on the points an attacker would choose.

Each is a frozen dataclass for ``labkit.training.fit(..., objective=...)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, softmax

from labkit.attacks import maximize
from labkit.attacks.views import held_still
from labkit.seeding import derive, generator
from labkit.threats import Ball
from labkit.training import Objective, StepState


@dataclass(frozen=True)
class Adversarial(Objective):
    """Minimize the cross-entropy at the worst point that PGD finds: ``min E max_{x' in threat} loss(x', y)``.

    Madry et al. 2018, arXiv 1706.06083. With ``steps=1`` and a random start this is FGSM with random start ("fast", Wong et al. 2020,
    arXiv 2001.03994, step_size 1.25 eps); without the random start, the FGSM training of Goodfellow et al. 2015. ``mode``: whether
    batch normalization runs in evaluation or training mode inside the inner loop. ``clean``: weight of the clean loss.
    ``warmup``: the share of the training over which eps (and the step size with it) grows from nothing to its full size; for large
    budgets the paper's recipe sits on a plateau for thousands of steps first, which a short training cannot afford.
    Raises ValueError for a warmup outside [0, 1].
    """

    threat: Ball
    steps: int = 7
    step_size: float | None = None
    random_start: bool = True
    mode: Literal["eval", "train"] = "eval"
    precision: str = "float32"
    clean: float = 0.0
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup is a share of the training, between 0 and 1, got {self.warmup}")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, state: StepState) -> Tensor:
        """Return the mean loss at the points that the inner loop found."""
        threat, step_size = self.threat, self.step_size
        if self.warmup and (grown := (state.step + 1) / (self.warmup * max(1, state.total_steps))) < 1:
            threat, step_size = replace(threat, eps=grown * threat.eps), None if step_size is None else grown * step_size
        x_adv = maximize(model, x, y, threat, steps=self.steps, step_size=step_size, random_start=self.random_start,
                         mode=self.mode, precision=self.precision, seed=derive(state.seed, "inner", state.step))  # fmt: skip
        attacked = cross_entropy(model(x_adv), y)
        return attacked if self.clean == 0 else (1 - self.clean) * attacked + self.clean * cross_entropy(model(x), y)


@dataclass(frozen=True)
class Trades(Objective):
    """Cross-entropy on clean inputs plus ``beta`` times how far an attacker can move the answer (KL divergence).

    ``CE(f(x), y) + beta * max KL(f(x) || f(x'))``; the inner loop climbs the divergence from x plus noise of deviation 0.001, in
    evaluation mode. Zhang et al. 2019, arXiv 1901.08573. Notes: noise and mode are those of the authors' code.
    In bfloat16 both that noise and small divergences drown in rounding, so the points found are weaker (a sixth less loss on a small
    trained network with 10 steps, where ``Adversarial`` loses nothing): prefer float32 here.
    """

    threat: Ball
    beta: float = 6.0
    steps: int = 10
    step_size: float | None = None
    precision: str = "float32"

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, state: StepState) -> Tensor:
        """Return clean loss plus ``beta`` times the mean divergence at the points found."""
        with held_still(model), torch.no_grad():
            reference = softmax(model(x), 1)

        def divergence(x_adv: Tensor, logits: Tensor, y: Tensor) -> Tensor:
            return kl(reference, logits)

        seed = derive(state.seed, "trades", state.step)
        noise = torch.randn(x.shape, generator=generator(seed), dtype=x.dtype).to(x.device)
        x_adv = maximize(model, x, y, self.threat, divergence, steps=self.steps, step_size=self.step_size,
                         start=x + 0.001 * noise, precision=self.precision)  # fmt: skip
        clean = model(x)
        return cross_entropy(clean, y) + self.beta * kl(softmax(clean, 1), model(x_adv)).mean()


def kl(p: Tensor, logits: Tensor) -> Tensor:
    """Return ``KL(p || softmax(logits))`` per sample, (B,); p (B, K) are probabilities."""
    return (p * (p.clamp_min(1e-12).log() - log_softmax(logits, 1))).sum(1)


@dataclass(frozen=True)
class Free(Objective):
    """"Free" adversarial training: each batch is replayed, and each backward pass updates weights and perturbation alike.

    The perturbation is kept from batch to batch. Shafahi et al. 2019, arXiv 1904.12843; use ``epochs / replays`` epochs for the
    same number of updates. Linf threats only, as in the paper. Raises TypeError for others, ValueError for one with a mask
    or without a budget. Notes: the gradient is taken at the clipped point, where the authors' code lets it vanish outside the value box.
    """

    threat: Ball
    replays: int = 4

    def __post_init__(self) -> None:
        if self.threat.norm != "linf":
            raise TypeError(f"free adversarial training is defined for Linf, got {self.threat}")
        if self.threat.mask is not None or math.isinf(self.threat.eps):
            raise ValueError(f"free adversarial training needs a finite eps and no mask, got {self.threat!r}")
        if self.replays < 1:
            raise ValueError(f"replays must be 1 or more, got {self.replays}")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, state: StepState) -> Tensor:
        """Return the cross-entropy at given points; ``step`` chooses them."""
        return cross_entropy(model(x), y)

    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, state: StepState) -> float:
        """Replay the batch ``replays`` times; return the mean loss."""
        eps, total = self.threat.eps, 0.0
        delta = state.memory.get("delta", torch.zeros_like(x))
        if len(delta) < len(x):
            delta = torch.cat([delta, torch.zeros_like(x[len(delta) :])])
        current = delta[: len(x)].clone()
        for _ in range(self.replays):
            leaf = (x + current).clamp(self.threat.low, self.threat.high).requires_grad_(True)
            value = self.loss(model, leaf, y, state)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(value)
            optimizer.step()
            assert leaf.grad is not None
            current = (current + eps * leaf.grad.sign()).clamp(-eps, eps)
            total += float(value.detach())
        state.memory["delta"] = torch.cat([current, delta[len(x) :]]).detach()
        return total / self.replays
