"""What an evasion need not have changed: put every field back as far as the detector allows."""

from __future__ import annotations

from dataclasses import replace

import torch

from labkit.attacks.anomaly.asking import silent
from labkit.attacks.metered import OutOfQueries
from labkit.attacks.result import AttackResult
from labkit.attacks.views import Model, held_still, original
from labkit.data.records import SAME
from labkit.threats.records import Records


def spare(model: Model, result: AttackResult, *, halvings: int = 5, rounds: int = 2) -> AttackResult:
    """Return the result with every successful record moved back towards its original, field by field, while the alarm stays silent.

    Each changed field, the most changed first, goes back all the way if it may, else as far as ``halvings`` bisections find; ``rounds``
    times over. One query per trial and record, counted in ``forwards``; nobody is asked about a record that has nothing to try, and
    where a service stops answering, what was put back so far is the result (``out_of_queries``). The distance never grows. Raises
    TypeError for another threat than ``Records``, ValueError for options below 1.
    """
    threat = result.threat
    if not isinstance(threat, Records):
        raise TypeError(f"records are put back field by field under a Records threat, got {threat}")
    if halvings < 1 or rounds < 1:
        raise ValueError(f"halvings and rounds must be 1 or more, got {halvings} and {rounds}")
    turned = (result.success & ~result.already).nonzero().squeeze(1)
    x, x_adv, judge = result.x[turned], result.x_adv[turned].clone(), original(model)
    region, spent, away = threat.region(x), torch.zeros_like(turned), threat.distance(x_adv, x)
    lines, cut_off = torch.arange(len(x), device=x.device), torch.zeros(len(result), dtype=torch.bool, device=x.device)
    with held_still(judge), torch.no_grad():
        try:
            for turn in range(rounds * int(threat.free.sum()) if len(x) else 0):
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
                    moved = threat.distance(trial, x)
                    good = silent(judge, trial, open_ & (moved <= away + 1e-9), spent)
                    x_adv, away = torch.where(good[:, None], trial, x_adv), torch.where(good, moved, away)
                    high, low = torch.where(good, value, high), torch.where(good, low, value)
                    open_ = open_ & ~(good & (value == x[lines, column]))
                    value = (low + high) / 2
        except OutOfQueries:  # the service answers no more: what was put back so far still passes
            cut_off[turned] = True
    best, distance, forwards = result.x_adv.clone(), result.distance.clone(), result.forwards.clone()
    best[turned], distance[turned] = x_adv, away
    forwards[turned] += spent
    flags = {**result.flags, "out_of_queries": result.flags.get("out_of_queries", cut_off) | cut_off}
    return replace(result, x_adv=best, distance=distance, forwards=forwards, flags=flags, meta={**result.meta, "spared": True})


__all__ = ["spare"]
