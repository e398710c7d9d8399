"""Membership of a generator's training set: what its critic remembers, and what its samples give away."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labkit.evaluation import nearest


def by_critic(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return how real the critic finds each record x (N, ...): float64 (N,), higher = more likely a member.

    For an attacker who got hold of the critic as well as the generator. Hayes et al. 2019 (LOGAN), arXiv 1705.07663.
    """
    with torch.no_grad():
        return torch.cat([critic(part).double() for part in torch.split(x, 512)])


def by_distance(samples: Tensor, x: Tensor) -> Tensor:
    """Return minus the Euclidean distance from each record x (N, ...) to the nearest of the generated samples (M, ...): float64 (N,).

    For an attacker who can only draw samples; more of them see more. Chen et al. 2020 (GAN-Leaks), arXiv 1909.03935, without its
    calibration by a second generator. Raises ValueError for no samples, or samples of another shape.
    """
    if samples.shape[1:] != x.shape[1:] or not len(samples):
        raise ValueError(f"samples {tuple(samples.shape)} cannot be compared with records {tuple(x.shape)}")
    return -nearest(x, samples)[0]
