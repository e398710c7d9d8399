"""RMIA: does the target favor this record more than it favors ordinary ones, measured by a reference model or two?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from labkit.attacks.membership.lira import check_shadows


def rmia(
    signal: Tensor, shadows: Tensor, members: Tensor, *, population: Tensor | None = None, gamma: float = 1.0, online: bool = True,
    a: float = 0.3,
) -> Tensor:  # fmt: skip
    """Return the share of the population that each record beats, float64 in [0, 1], same shape as ``signal``.

    ``signal``: (..., N), the target's ``log_probability`` of each record. ``shadows``: (S, N), the same from reference models; ``members``:
    (S, N) bool, who was trained with what. A record x beats z when its ratio p(x | target) / p(x) is at least ``gamma`` times that of z,
    where p(x) is the mean over reference models with and without x; offline those with x are guessed: p = ((1 + a) p_out + 1 - a) / 2.
    ``population``: (P,) positions of the records that serve as z (all by default). Works with one or two reference models.

    Zarifzadeh, Liu, Shokri 2024, arXiv 2312.03262. Raises ValueError for other shapes, gamma <= 0, a outside [0, 1],
    and records that lack a reference model of a needed kind.

    Notes: the paper draws z from the population at large; by default the records asked about serve, members and non-members alike. For
    one target the share only ranks the ratios, so gamma and the population change no ROC; they set all targets to one
    scale, which is what a common threshold needs. Means are taken with and without x first, and then averaged: averaged over all
    reference models, the *number* of models with x would leak into the score.
    """
    check_shadows(signal, shadows, members)
    if gamma <= 0 or not 0 <= a <= 1:
        raise ValueError(f"gamma must be positive and a between 0 and 1, got {gamma} and {a}")
    chance = shadows.double().exp()
    outside = _mean(chance, ~members, "without")
    average = (_mean(chance, members, "with") + outside) / 2 if online else ((1 + a) * outside + 1 - a) / 2
    ratio = signal.double() - average.clamp_min(torch.finfo(torch.float64).tiny).log()
    others = (ratio if population is None else ratio[..., population]).sort(-1).values
    beaten = torch.searchsorted(others.contiguous(), (ratio - math.log(gamma)).contiguous(), right=True)
    return beaten.double() / others.shape[-1]


def _mean(chance: Tensor, chosen: Tensor, word: str) -> Tensor:
    count = chosen.sum(0)
    if lacking := int((count == 0).sum()):
        raise ValueError(
            f"{lacking} of {len(count)} records have no reference model trained {word} them; online=False needs none with them"
        )
    return torch.where(chosen, chance, 0.0).sum(0) / count
