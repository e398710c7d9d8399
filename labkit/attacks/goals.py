"""What an attack wants: any wrong answer, one given answer, a confident mistake, or a mistake that a detector lets pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.attacks.losses import margin


class Goal(ABC):
    """Decides which inputs meet the goal, and which label a loss refers to."""

    targeted: bool = False

    @abstractmethod
    def met(self, x_adv: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        """Return (B,) bool. ``y``: the true labels, or the wanted ones for a targeted goal.

        It need not look for nan: the engine never counts an answer with a nan logit.
        """


@dataclass(frozen=True)
class Untargeted(Goal):
    """Any answer but the true one."""

    def met(self, x_adv: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        """Return where the answer differs from ``y``."""
        return logits.argmax(1) != y


@dataclass(frozen=True)
class Targeted(Goal):
    """Exactly the wanted answer."""

    targeted: bool = True

    def met(self, x_adv: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        """Return where the answer equals ``y``, here the wanted label."""
        return logits.argmax(1) == y


@dataclass(frozen=True)
class Confident(Goal):
    """A wrong answer whose logit leads the true one's by at least ``kappa`` (Carlini and Wagner 2017, arXiv 1608.04644)."""

    kappa: float = 0.0

    def met(self, x_adv: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        """Return where some other logit leads the true one's by ``kappa`` or more."""
        return (logits.argmax(1) != y) & (margin(logits, y) >= self.kappa)  # at kappa = 0 a tie may still be the true answer


@dataclass(frozen=True)
class Undetected(Goal):
    """A wrong answer whose detector score stays at or below ``threshold`` (higher scores are more suspicious)."""

    score: Callable[[Tensor], Tensor]
    threshold: float

    def met(self, x_adv: Tensor, logits: Tensor, y: Tensor) -> Tensor:
        """Return where the answer is wrong and the detector stays silent."""
        with torch.no_grad():
            return (logits.argmax(1) != y) & (self.score(x_adv) <= self.threshold)
