"""One-class SVM: the smallest region, drawn with Gaussian bumps, that holds all but a small share of normal data."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from labkit.detectors.checks import rows


class OneClassSVM:
    """Score ``rho - sum_i a_i exp(-gamma |x - s_i|^2)`` over the support vectors s_i: above 0 outside of the learned region.

    scikit-learn solves for the a_i; the score is written here, so that it can be differentiated. ``nu``: at most this share of the training
    inputs lies outside. ``gamma``: of the kernel; None takes ``1 / (D var(x))``. ``most``: only so many inputs are used, at a
    constant stride, because the solver takes quadratic time. Schoelkopf et al. 2001. Raises ValueError for options out of range.
    """

    support_: Tensor
    weights_: Tensor
    rho_: float
    gamma_: float

    def __init__(self, nu: float = 0.02, gamma: float | None = None, most: int = 2_000) -> None:
        if not 0 < nu <= 1 or (gamma is not None and gamma <= 0) or most < 2:
            raise ValueError(f"nu in (0, 1], gamma above 0 and most of 2 or more are needed, got {nu}, {gamma} and {most}")
        self.nu, self.gamma, self.most = nu, gamma, most

    def fit(self, x: Tensor, y: Tensor | None = None) -> Self:
        """Learn the region from normal inputs x (N, ...)."""
        from sklearn.svm import OneClassSVM as Solver

        wide = rows(x, least=2).cpu()
        count = min(len(wide), self.most)
        wide = wide[torch.arange(count) * len(wide) // count]
        self.gamma_ = self.gamma if self.gamma is not None else 1 / (wide.shape[1] * max(float(wide.var(correction=0)), 1e-12))
        solved = Solver(nu=self.nu, gamma=self.gamma_).fit(wide.numpy())
        self.support_ = torch.from_numpy(solved.support_vectors_.copy())
        self.weights_ = torch.from_numpy(solved.dual_coef_[0].copy())
        self.rho_ = -float(solved.intercept_[0])
        return self

    def score(self, x: Tensor) -> Tensor:
        """Return how far outside of the region each input lies, (B,); differentiable."""
        wide, support = rows(x), self.support_.to(x.device)
        # |x - s|^2 written out: cdist has no derivative where an input is a support vector.
        squared = wide.square().sum(1, keepdim=True) + support.square().sum(1) - 2 * wide @ support.T
        return (self.rho_ - (-self.gamma_ * squared.clamp_min(0)).exp() @ self.weights_.to(x.device)).to(x.dtype)


__all__ = ["OneClassSVM"]
