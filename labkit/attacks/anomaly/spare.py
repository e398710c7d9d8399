"""What an evasion need not have changed: put every field back as far as the detector allows."""

from __future__ import annotations

from dataclasses import replace

import torch

from labkit.attacks.result import AttackResult
from labkit.attacks.views import Model, held_still, original
from labkit.data.records import SAME
from labkit.detectors.alarm import ALARM
from labkit.threats.records import Records


def spare(model: Model, result: AttackResult, *, halvings: int = 5, rounds: int = 2) -> AttackResult:
    """Return the result with every successful record moved back towards its original, field by field, while the alarm stays silent.

    Each changed field, the most changed first, goes back all the way if it may, else as far as ``halvings`` bisections find; ``rounds``
    times over. One query per trial, counted in ``forwards``. The distance never grows. Raises TypeError for another threat than
    ``Records``, ValueError for options below 1.
    """
    threat = result.threat
    if not isinstance(threat, Records):
        raise TypeError(f"records are put back field by field under a Records threat, got {threat}")
    if halvings < 1 or rounds < 1:
        raise ValueError(f"halvings and rounds must be 1 or more, got {halvings} and {rounds}")
    turned = (result.success & ~result.already).nonzero().squeeze(1)
    x, x_adv, judge = result.x[turned], result.x_adv[turned].clone(), original(model)
    region, spent, away = threat.region(x), torch.zeros_like(turned), threat.distance(x_adv, x)
    lines = torch.arange(len(x), device=x.device)
    with held_still(judge), torch.no_grad():
        for turn in range(rounds * int(threat.free.sum())):
            if not len(x):
                break
            if turn % int(threat.free.sum()) == 0:
                order = ((x_adv - x).abs() * threat.free.to(x.device)).argsort(dim=1, descending=True, stable=True)
            column = order[:, turn % int(threat.free.sum())]
            high = x_adv[lines, column].clone()  # known to pass; x's own value is not
            low, changed = x[lines, column], (high - x[lines, column]).abs() > SAME
            value, open_ = low.clone(), changed
            for _ in range(1 + halvings):
                if not bool(open_.any()):
                    break
                wish = x_adv.clone()
                wish[lines, column] = value
                trial = region.project_(wish)
                spent += open_
                moved = threat.distance(trial, x)
                good = open_ & (judge(trial).argmax(1) != ALARM) & (moved <= away + 1e-9)
                x_adv, away = torch.where(good[:, None], trial, x_adv), torch.where(good, moved, away)
                high, low = torch.where(good, value, high), torch.where(good, low, value)
                open_ = open_ & ~(good & (value == x[lines, column]))
                value = (low + high) / 2
    best, distance, forwards = result.x_adv.clone(), result.distance.clone(), result.forwards.clone()
    best[turned], distance[turned] = x_adv, away
    forwards[turned] += spent
    return replace(result, x_adv=best, distance=distance, forwards=forwards, meta={**result.meta, "spared": True})


__all__ = ["spare"]
