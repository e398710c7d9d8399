"""Guards of a training window: which of a day's records may be learned from, judged against a reference that nobody retrains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from labkit.detectors.base import Detector


class Guard(Protocol):
    """Decides for a day's records (N, F) which may enter the training window, (N,) bool."""

    def admit(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Fence:
    """Admit what a fixed reference detector lets pass: the window may drift inside the fence, never beyond."""

    reference: Detector
    threshold: float

    def admit(self, x: Tensor) -> Tensor:
        """Return where the reference score is at most the threshold."""
        with torch.no_grad():
            return self.reference.score(x) <= self.threshold


@dataclass(frozen=True)
class DailyMean:
    """Admit a day whole or not at all: not when its mean reference score exceeds that of clean days by ``limit`` standard deviations.

    ``level`` and ``spread``: mean and standard deviation of the daily means of clean days (``DailyMean.learned``).
    """

    reference: Detector
    level: float
    spread: float
    limit: float = 3.0

    @staticmethod
    def learned(reference: Detector, days: Sequence[Tensor], limit: float = 3.0) -> DailyMean:
        """Return a guard that knows how much the daily mean varies over clean ``days``. Raises ValueError for fewer than three days."""
        if len(days) < 3:
            raise ValueError(f"three clean days or more tell how much days differ, got {len(days)}")
        with torch.no_grad():
            means = torch.stack([reference.score(day).double().mean() for day in days])
        return DailyMean(reference, float(means.mean()), float(means.std()), limit)

    def admit(self, x: Tensor) -> Tensor:
        """Return all True or all False."""
        with torch.no_grad():
            calm = float(self.reference.score(x).double().mean()) <= self.level + self.limit * self.spread
        return torch.full((len(x),), calm, dtype=torch.bool, device=x.device)


__all__ = ["DailyMean", "Fence", "Guard"]
