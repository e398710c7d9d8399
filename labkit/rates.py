"""A rate that carries its numerator, its denominator and what is counted, so that no percentage stands alone."""

from __future__ import annotations

import math
from dataclasses import dataclass


def wilson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a binomial rate ``k / n`` (Wilson 1927). ``(0, 1)`` when n is 0.

    Raises ValueError unless 0 <= k <= n and 0 < confidence < 1.
    """
    if not 0 <= k <= n:
        raise ValueError(f"{k} out of {n} is not a rate")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if n == 0:
        return 0.0, 1.0
    z = _normal_quantile(0.5 + confidence / 2)
    center = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return (0.0 if k == 0 else max(0.0, center - half)), (1.0 if k == n else min(1.0, center + half))


def _normal_quantile(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)


@dataclass(frozen=True)
class Rate:
    """``k`` of ``n``, and ``of``: what the n are. ``float(rate)`` is the fraction (nan when n is 0)."""

    k: int
    n: int
    of: str = "inputs"

    def __post_init__(self) -> None:
        if not 0 <= self.k <= self.n:
            raise ValueError(f"{self.k} out of {self.n} {self.of} is not a rate")

    def __float__(self) -> float:
        return self.k / self.n if self.n else math.nan

    @property
    def value(self) -> float:
        """The fraction."""
        return float(self)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval."""
        return wilson(self.k, self.n)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{float(self):.1%} ({self.k} of {self.n} {self.of}; 95 % interval {low:.1%} to {high:.1%})"
