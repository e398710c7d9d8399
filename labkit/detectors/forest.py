"""Isolation forest: an input that few random cuts separate from all others is unusual."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from labkit.detectors.checks import rows


class IsolationForest:
    """Score ``2^(-E[path] / c(n))`` in (0, 1): the shorter the mean path to an input's leaf, the higher. Piecewise constant: no gradient.

    scikit-learn grows the trees. ``trees``: how many; ``sample``: inputs that each tree sees. Liu, Ting, Zhou 2008. Raises ValueError for
    fewer than 1 tree or 2 inputs.
    """

    forest_: Any

    def __init__(self, trees: int = 100, sample: int = 256, seed: int = 0) -> None:
        if trees < 1 or sample < 2:
            raise ValueError(f"trees must be 1 or more and sample 2 or more, got {trees} and {sample}")
        self.trees, self.sample, self.seed = trees, sample, seed

    def fit(self, x: Tensor, y: Tensor | None = None) -> Self:
        """Grow the trees on normal inputs x (N, ...)."""
        from sklearn.ensemble import IsolationForest as Forest

        wide = rows(x, least=2).cpu().float().numpy()
        self.forest_ = Forest(n_estimators=self.trees, max_samples=min(self.sample, len(wide)), random_state=self.seed).fit(wide)
        return self

    def score(self, x: Tensor) -> Tensor:
        """Return how unusual each input is, (B,); without a gradient."""
        wide = rows(x.detach()).cpu().float()
        if not len(wide):
            return x.new_zeros(0)
        return torch.from_numpy(-self.forest_.score_samples(wide.numpy())).to(x.device, x.dtype)


__all__ = ["IsolationForest"]
