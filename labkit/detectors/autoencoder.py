"""Autoencoder: a network that has to say an input again through a narrow middle fails on what it has never seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from labkit.data.dataset import Split
from labkit.detectors.checks import rows
from labkit.models.layers import seeded
from labkit.training import fit
from labkit.training.objectives import Objective, StepState


@dataclass(frozen=True)
class Reconstruct(Objective):
    """The mean squared difference between an input and what the network makes of it; labels are not used."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, state: StepState) -> Tensor:
        """Return the mean over the batch."""
        error: Tensor = (model(x) - x).square().mean()
        return error


@seeded
def bottleneck(width: int, hidden: int, middle: int) -> nn.Sequential:
    """Return a network from ``width`` values through ``hidden`` and ``middle`` ones back to ``width``, in [0, 1]."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, middle),
        nn.Linear(middle, hidden), nn.SiLU(), nn.Linear(hidden, width), nn.Sigmoid(),
    )  # fmt: skip


class Autoencoder:
    """Score: the mean squared difference between an input in [0, 1] and its reconstruction (Sakurada and Yairi 2014).

    ``middle``: how many numbers an input is squeezed into; ``hidden``: the layers around. Training is cached by ``labkit.training.fit``.
    SiLU instead of ReLU: an attacker's gradient is then never exactly zero, so that the detector is not mistaken for a safe one.
    """

    model_: nn.Module

    def __init__(self, middle: int = 5, hidden: int = 48, epochs: int = 30, learning_rate: float = 5e-3, seed: int = 0) -> None:
        if middle < 1 or hidden < 1:
            raise ValueError(f"middle and hidden must be 1 or more, got {middle} and {hidden}")
        self.middle, self.hidden, self.epochs, self.learning_rate, self.seed = middle, hidden, epochs, learning_rate, seed

    def fit(self, x: Tensor, y: Tensor | None = None) -> Self:
        """Train on normal inputs x (N, ...) in [0, 1]."""
        wide = rows(x, least=1).float()
        known = Split(wide, torch.zeros(len(wide), dtype=torch.int64, device=x.device), "train", "normal inputs")
        network = bottleneck(wide.shape[1], self.hidden, self.middle, seed=self.seed)
        with torch.enable_grad():  # whoever fits under no_grad means the scores
            self.model_ = fit(network, known, objective=Reconstruct(), epochs=self.epochs, learning_rate=self.learning_rate,
                              seed=self.seed, device=x.device, label="training the autoencoder").model  # fmt: skip
        return self

    def score(self, x: Tensor) -> Tensor:
        """Return the mean squared error of each input's reconstruction, (B,); differentiable."""
        wide = x.flatten(1).float()
        error: Tensor = (self.model_(wide) - wide).square().mean(1)
        return error.to(x.dtype)


__all__ = ["Autoencoder", "Reconstruct", "bottleneck"]
