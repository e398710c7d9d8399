"""Mahalanobis distance: how many spreads an input lies from the mean of normal data, in the directions in which that data varies."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor

from labkit.detectors.checks import rows


class Centroid:
    """The plain distance to the mean of normal data (Kloft and Laskov 2010, arXiv 1003.0078): the simplest detector there is.

    ``center_``: (D,) float64.
    """

    center_: Tensor

    def fit(self, x: Tensor, y: Tensor | None = None) -> Self:
        """Remember the mean of normal inputs x (N, ...)."""
        self.center_ = rows(x, least=1).mean(0)
        return self

    def score(self, x: Tensor) -> Tensor:
        """Return the Euclidean distance of each input to the mean, (B,); differentiable but at the mean itself."""
        length: Tensor = torch.linalg.vector_norm(rows(x) - self.center_.to(x.device), dim=1)
        return length.to(x.dtype)


class Mahalanobis:
    """Score ``(x - m)^T S^-1 (x - m)`` with the mean m and the covariance S of normal data.

    ``shrinkage``: S becomes ``(1 - s) S + s t I``, t the mean variance; None takes the s of Ledoit and Wolf (2004), which needs no
    tuning. Without shrinkage a field that never varies, or one that is the sum of others, has no inverse. ``trim``: drop this share of the
    inputs, those that lie furthest out, and fit again until the same ones stay (the concentration steps of Rousseeuw and Van Driessen
    1999): so few inputs cannot pull the estimate. ``mean_`` (D,), ``whiten_`` (D, D) and ``shrinkage_`` are float64.
    Raises ValueError for a shrinkage outside [0, 1] and a trim outside [0, 1/2).
    """

    mean_: Tensor
    whiten_: Tensor
    shrinkage_: float

    def __init__(self, shrinkage: float | None = None, trim: float = 0.0) -> None:
        if shrinkage is not None and not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage must lie in [0, 1] or be None, got {shrinkage}")
        if not 0 <= trim < 0.5:
            raise ValueError(f"trim must lie in [0, 0.5), got {trim}")
        self.shrinkage, self.trim = shrinkage, trim

    def fit(self, x: Tensor, y: Tensor | None = None) -> Self:
        """Learn mean and covariance from normal inputs x (N, ...). Raises ValueError for fewer than two, or without an inverse."""
        wide = rows(x, least=2)
        self._estimate(wide)
        keep = wide.shape[0] - math.floor(self.trim * wide.shape[0])
        chosen = None
        for _ in range(20 if keep < len(wide) else 0):
            inner = self.score(wide).argsort(stable=True)[:keep].sort().values
            if chosen is not None and torch.equal(inner, chosen):
                break
            chosen = inner
            self._estimate(wide[chosen])
        return self

    def _estimate(self, x: Tensor) -> None:
        self.mean_ = x.mean(0)
        centered = x - self.mean_
        covariance = centered.T @ centered / len(x)
        level = covariance.diagonal().mean()
        self.shrinkage_ = ledoit_wolf(centered, covariance) if self.shrinkage is None else self.shrinkage
        shrunk = (1 - self.shrinkage_) * covariance + self.shrinkage_ * level * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        factor, failed = torch.linalg.cholesky_ex(shrunk)
        if int(failed) or not bool((factor.diagonal() > 1e-9 * factor.diagonal().max()).all()):
            raise ValueError(
                f"the covariance has no inverse with shrinkage {self.shrinkage_:g}: does a field never vary? Use shrinkage > 0"
            )
        eye = torch.eye(len(factor), dtype=x.dtype, device=x.device)
        self.whiten_ = torch.linalg.solve_triangular(factor, eye, upper=False)  # distances become one product, no B x B matrix

    def score(self, x: Tensor) -> Tensor:
        """Return the squared Mahalanobis distance of each input, (B,); differentiable."""
        return ((rows(x) - self.mean_.to(x.device)) @ self.whiten_.T.to(x.device)).square().sum(1).to(x.dtype)


def ledoit_wolf(centered: Tensor, covariance: Tensor) -> float:
    """Return the shrinkage s in [0, 1] with the smallest expected error, for centered inputs (N, D) (Ledoit and Wolf 2004)."""
    count, width = centered.shape
    level = covariance.diagonal().mean()
    target = covariance - level * torch.eye(width, dtype=covariance.dtype, device=covariance.device)
    spread = target.square().sum()
    noise = (centered.square().sum(1).square().mean() - covariance.square().sum()) / count
    return float((noise / spread).clamp(0, 1)) if spread > 0 else 1.0


__all__ = ["Centroid", "Mahalanobis", "ledoit_wolf"]
