"""``Game``: two networks trained against each other. An objective like any other, so ``fit`` caches, resumes and reports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from labkit.seeding import derive, generator
from labkit.training.objectives import Objective, StepState


class Pair(Protocol):
    """What a game needs of its two players; ``labkit.models.Adversaries`` is one."""

    noise: int
    classes: int
    generator: nn.Module
    critic: nn.Module

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the critic's logits (B,)."""

    def generate(self, noise: Tensor, y: Tensor | None = None) -> Tensor:
        """Return samples (B, ...)."""


@dataclass(frozen=True)
class Game(Objective):
    """The game of Goodfellow et al. 2014 (arXiv 1406.2661): the critic learns to tell real from generated,
    the generator to be taken for real.

    ``generator_loss``: "non-saturating", -log D(G(z)), what everybody trains; or "minimax", log(1 - D(G(z))), what the theory is about.
    ``smoothness``: gamma of the penalty gamma/2 |dD/dx|^2 at real samples, which lets the game converge (Mescheder et al. 2018, R1,
    arXiv 1801.04406); 0 for none. ``inertia``: Adam's first decay; 0.9 makes the game swing (Radford et al. 2015, arXiv 1511.06434).
    Both players move at once, each down its own loss, from the same batch. The reported loss is the critic's: 2 log 2 = 1.386 when it
    can no longer tell. Raises ValueError for settings out of range, TypeError for a model that is no pair.
    """

    generator_loss: Literal["non-saturating", "minimax"] = "non-saturating"
    smoothness: float = 1.0
    inertia: float = 0.5

    def __post_init__(self) -> None:
        if self.generator_loss not in ("non-saturating", "minimax"):
            raise ValueError(f"generator_loss must be 'non-saturating' or 'minimax', got {self.generator_loss!r}")
        if self.smoothness < 0 or not 0 <= self.inertia < 1:
            raise ValueError(f"smoothness must be 0 or more and inertia in [0, 1), got {self.smoothness} and {self.inertia}")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, state: StepState) -> Tensor:
        """Return the critic's loss on real x (B, ...) and as many generated samples, penalty included."""
        pair = _pair(model)
        labels = y if pair.classes else None
        fake = pair.generate(self._noise(pair, x, state), labels)
        return self._critics(pair, x, fake.detach(), labels)[0]

    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, state: StepState) -> float:
        """Move both players once and return the critic's loss without the penalty."""
        pair = _pair(model)
        for group in optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (self.inertia, group["betas"][1])
        labels = y if pair.classes else None
        fake = pair.generate(self._noise(pair, x, state), labels)
        critics, plain = self._critics(pair, x, fake.detach(), labels)
        for_critic = torch.autograd.grad(critics, list(pair.critic.parameters()))
        fooled = pair(fake, labels)
        generators = (softplus(-fooled) if self.generator_loss == "non-saturating" else -softplus(fooled)).mean()
        for_generator = torch.autograd.grad(generators, list(pair.generator.parameters()))
        for player, gradients in ((pair.critic, for_critic), (pair.generator, for_generator)):
            for parameter, gradient in zip(player.parameters(), gradients, strict=True):
                parameter.grad = gradient
        optimizer.step()
        return float(plain.detach())

    def _critics(self, pair: Pair, x: Tensor, fake: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the critic's loss with and without the penalty."""
        real = x.detach().requires_grad_(self.smoothness > 0)
        on_real = pair(real, labels)
        plain = softplus(-on_real).mean() + softplus(pair(fake, labels)).mean()
        if not self.smoothness:
            return plain, plain
        (slope,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
        return plain + self.smoothness / 2 * slope.flatten(1).square().sum(1).mean(), plain

    @staticmethod
    def _noise(pair: Pair, x: Tensor, state: StepState) -> Tensor:
        return torch.randn(len(x), pair.noise, generator=generator(derive(state.seed, "game", state.step))).to(x)


def _pair(model: nn.Module) -> Pair:
    if not (hasattr(model, "generator") and hasattr(model, "critic") and hasattr(model, "generate")):
        raise TypeError(f"a game needs a pair such as labkit.models.adversaries(), got {type(model).__name__}")
    return model  # type: ignore[return-value]
