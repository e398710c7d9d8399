"""Evasion inside a record threat by gradient: step on a wish, judge the possible record nearest to it."""

from __future__ import annotations

import torch

from labkit.attacks.engine import Search, attack
from labkit.threats.records import RecordRegion


@attack(norms=("records",), loss="margin", without=("precision", "layout"))
def evade_by_gradient(search: Search, *, steps: int = 40, step_size: float = 0.15, restarts: int = 1) -> None:
    """Climb the loss over real-valued wishes, and judge at every step the possible records that follow from them.

    The gradient is taken at the possible record and handed to the wish: through fields that follow from others by the chain rule,
    through rounding as if it were not there (the straight-through estimator, Bengio et al. 2013, arXiv 1308.3432). A step moves
    the field with the largest slope by ``step_size`` of its encoded range, the others in proportion; steps shrink linearly to a tenth.
    ``restarts``: every start after the first is a random allowed record. Detectors under constraints by gradient: Biggio et al. 2013,
    arXiv 1708.06131; records with dependent fields: Sheatsley et al. 2021, arXiv 2105.08619.
    Raises ValueError for options out of range, and for a detector without a gradient.

    Notes: a wish is clamped to the limits, so that no step is lost outside of them. What is handed back was verified as it stands.
    """
    if steps < 1 or restarts < 1 or step_size <= 0:
        raise ValueError(f"steps and restarts of 1 or more and a step_size above 0 are needed, got {steps}, {restarts} and {step_size}")
    for restart in range(restarts):
        wish = search.start(random=restart > 0, stream=restart)
        for step in range(steps):
            if not len(search):
                return
            _, grad, wish = search.gradient(_region(search).project_(wish.clone()), wish)
            if not len(search):
                return
            slope = _region(search).pull_back(wish, grad.nan_to_num(nan=0.0))
            slope = slope / slope.abs().amax(1, keepdim=True).clamp_min(1e-30)
            size = step_size * (1 - 0.9 * step / steps)
            wish = torch.maximum(torch.minimum(wish + size * slope, _region(search).upper), _region(search).lower)
        search.finish(_region(search).project_(wish), last=restart == restarts - 1)


def _region(search: Search) -> RecordRegion:
    if not isinstance(search.region, RecordRegion):
        raise TypeError(f"this attack works on a Records threat, got {search.threat}")
    return search.region


__all__ = ["evade_by_gradient"]
