"""How good generated samples are: do they look like real ones, and do they cover them all?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from labkit.rates import Rate


class Coverage(NamedTuple):
    """``precision``: generated samples that lie among the real ones. ``recall``: real samples that lie among the generated ones."""

    precision: Rate
    recall: Rate


def coverage(real: Tensor, generated: Tensor, *, k: int = 3) -> Coverage:
    """Compare two sets of samples, (N, ...) and (M, ...), each by the balls around its members that reach their k-th neighbor.

    A sample lies among a set when it is inside one of the set's balls. A generator that repeats one good sample has precision 1 and
    recall near 0. Kynkaanniemi et al. 2019, arXiv 1904.06991 (there in the feature space of a large network; here in pixels, which small
    images allow). Raises ValueError for a set of k samples or fewer, and for samples of different shapes.
    """
    if real.shape[1:] != generated.shape[1:]:
        raise ValueError(f"real samples have shape {tuple(real.shape[1:])}, generated ones {tuple(generated.shape[1:])}")
    for name, some in (("real", real), ("generated", generated)):
        if not 1 <= k < len(some):
            raise ValueError(f"the {k}-th neighbor needs k of 1 or more and more than k samples; there are {len(some)} {name} ones")
    return Coverage(
        Rate(int(_among(generated, real, k).sum()), len(generated), "generated samples"),
        Rate(int(_among(real, generated, k).sum()), len(real), "real samples"),
    )


def nearest(x: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far each x (N, ...) is from its nearest neighbor in ``among`` (M, ...), Euclidean (N,), and which that is (N,) int64."""
    found = _distances(x, among).min(1)
    return found.values, found.indices


def _among(x: Tensor, members: Tensor, k: int) -> Tensor:
    radii = _distances(members, members).topk(k + 1, dim=1, largest=False).values[:, -1]  # the nearest is the member itself
    return (_distances(x, members) <= radii).any(1)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Return (N, M) distances, by differences: the quick way through products makes those of equal samples a little more than 0."""
    return torch.cdist(x.flatten(1).double(), y.flatten(1).double(), compute_mode="donot_use_mm_for_euclid_dist")
