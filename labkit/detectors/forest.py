"""Isolation forest: an input that few random cuts separate from all others is unusual."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labkit.detectors.checks import rows


class IsolationForest:
    """Score ``2^(-E[path] / c(n))`` in (0, 1): the shorter the mean path to an input's leaf, the higher. Piecewise constant: no gradient.

    scikit-learn grows the trees; they are read here, because its own ``score_samples`` spends most of its time on starting workers.
    ``trees``: how many; ``sample``: inputs that each tree sees. Liu, Ting, Zhou 2008. Raises ValueError for fewer than 1 tree or 2 inputs.
    ``paths_``: per tree, the expected length of the path to each of its nodes, (nodes,) float64.
    """

    forest_: Any
    paths_: list[NDArray[np.float64]]

    def __init__(self, trees: int = 100, sample: int = 256, seed: int = 0) -> None:
        if trees < 1 or sample < 2:
            raise ValueError(f"trees must be 1 or more and sample 2 or more, got {trees} and {sample}")
        self.trees, self.sample, self.seed = trees, sample, seed

    def fit(self, x: Tensor, y: Tensor | None = None) -> Self:
        """Grow the trees on normal inputs x (N, ...)."""
        from sklearn.ensemble import IsolationForest as Forest

        wide = rows(x, least=2).cpu().float().numpy()
        self.forest_ = Forest(n_estimators=self.trees, max_samples=min(self.sample, len(wide)), random_state=self.seed).fit(wide)
        self.paths_ = [_paths(tree.tree_) for tree in self.forest_.estimators_]
        return self

    def score(self, x: Tensor) -> Tensor:
        """Return how unusual each input is, (B,); without a gradient."""
        wide = np.ascontiguousarray(rows(x.detach()).cpu().float().numpy())
        if not len(wide):
            return x.new_zeros(0)
        total = np.zeros(len(wide))
        for grown, path in zip(self.forest_.estimators_, self.paths_, strict=True):
            total += path[grown.tree_.apply(wide)]
        usual = _unsplit(np.array([self.forest_.max_samples_]))[0] * len(self.paths_)
        return torch.from_numpy(2 ** -(total / usual)).to(x.device, x.dtype)


def _unsplit(count: NDArray[Any]) -> NDArray[np.float64]:
    """Return c(n), the mean path length that splitting n inputs further would take: 2 (ln(n - 1) + Euler's constant) - 2 (n - 1) / n."""
    n = np.maximum(count.astype(np.float64), 3)
    return np.where(count <= 1, 0.0, np.where(count == 2, 1.0, 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n))


def _paths(tree: Any) -> NDArray[np.float64]:
    """Return how many cuts lead to each node, plus what splitting the inputs that end there would take."""
    depth: NDArray[np.float64] = tree.compute_node_depths() - 1.0  # scikit-learn counts nodes, the root included
    return depth + _unsplit(tree.n_node_samples)


__all__ = ["IsolationForest"]
