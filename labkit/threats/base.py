"""What an attacker may change: the base that every threat shares, norm ball or not."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Threat(ABC):
    """A set of allowed changes around each input, and a distance that says how large a change is."""

    @abstractmethod
    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return (B,) bool: is each ``x_adv`` an allowed change of its ``x``?"""

    @abstractmethod
    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return (B,) how far each ``x_adv`` is from its ``x``, in this threat's own unit."""
