"""LiRA: how much likelier is this answer from a model that saw the record than from one that did not?"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Variance = Literal["each", "global"]


def lira(
    signal: Tensor, shadows: Tensor, members: Tensor, *, online: bool = True, variance: Variance = "each", floor: float = 1e-3
) -> Tensor:
    """Return the log likelihood ratio of membership, float64, same shape as ``signal``.

    ``signal``: (..., N), the target's ``logit_score`` of each record, for one target or several. ``shadows``: (S, N), the same from S
    shadow models. ``members``: (S, N) bool, which shadow model was trained with which record. ``online``: both normal
    laws, ln N(signal; in) - ln N(signal; out), which takes shadow models trained *with* the record; offline: only those without it, and
    the score is how many standard deviations the signal lies above them. ``variance``: "each" record its own, or "global", one
    for all records (but still two, in and out): better when a record has few shadow models. ``floor``: the smallest standard deviation.

    Carlini et al. 2022, arXiv 2112.03570, algorithm 1 and section VI. Raises ValueError for other shapes and records with fewer than two
    shadow models of a needed kind.

    Notes: centers are medians, as in the authors' code, but true ones (the mean of the middle two); a median that takes the lower of the
    two depends on whether their number is even, and with a fixed number of shadow models that tells the truth away. The offline
    score is one-sided as in the paper; the authors' code takes minus the density, which calls very low confidence suspicious
    too. The global variance is the mean of the records' variances; the authors' code takes it over all answers at once, which counts in
    the spread between records. The target is asked once about each record; the paper also asks about augmented copies and fits a normal law
    to all answers together.
    """
    check_shadows(signal, shadows, members)
    values = shadows.double()
    out_center, out_spread = _law(values, ~members, "without", variance, floor)
    if not online:
        return (signal.double() - out_center) / out_spread
    in_center, in_spread = _law(values, members, "with", variance, floor)
    return _log_density(signal.double(), in_center, in_spread) - _log_density(signal.double(), out_center, out_spread)


def _law(values: Tensor, chosen: Tensor, word: str, variance: Variance, floor: float) -> tuple[Tensor, Tensor]:
    """Return center (N,) and standard deviation (N,) or () of each record's chosen answers."""
    count = chosen.sum(0)
    if few := int((count < 2).sum()):
        raise ValueError(f"{few} of {len(count)} records have fewer than two shadow models trained {word} them; train more shadow models")
    center = torch.where(chosen, values, torch.nan).nanquantile(0.5, dim=0)
    mean = torch.where(chosen, values, 0.0).sum(0) / count
    each = torch.where(chosen, (values - mean) ** 2, 0.0).sum(0) / (count - 1)
    if variance == "each":
        return center, each.sqrt().clamp_min(floor)
    if variance == "global":
        return center, each.mean().sqrt().clamp_min(floor)
    raise ValueError(f"variance must be 'each' or 'global', got {variance!r}")


def _log_density(value: Tensor, center: Tensor, spread: Tensor) -> Tensor:
    return -0.5 * ((value - center) / spread) ** 2 - spread.log() - 0.5 * math.log(2 * math.pi)


def check_shadows(signal: Tensor, shadows: Tensor, members: Tensor) -> None:
    """Raise ValueError unless signal (..., N), shadows (S, N) and members (S, N) bool are about the same records, and finite."""
    if shadows.ndim != 2 or shadows.shape != members.shape or members.dtype != torch.bool or signal.shape[-1:] != shadows.shape[1:]:
        raise ValueError(
            f"the target's signal (..., N), the shadows' (S, N) and members (S, N) bool must be about the same N records; got "
            f"{tuple(signal.shape)}, {tuple(shadows.shape)} and {tuple(members.shape)} {members.dtype}"
        )
    for name, values in (("target's", signal), ("shadows'", shadows)):
        if broken := int((~values.isfinite()).sum()):
            raise ValueError(f"{broken} of the {name} signals are not finite; use logit_score on logits, not log(p / (1 - p)) of rounded p")
