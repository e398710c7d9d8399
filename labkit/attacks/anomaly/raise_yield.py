"""Evasions that are worth more: change what passes already, and keep what still passes and achieves no less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from labkit.attacks.anomaly.asking import silent
from labkit.attacks.anomaly.by_queries import moved
from labkit.attacks.metered import OutOfQueries
from labkit.attacks.result import AttackResult
from labkit.attacks.views import Model, held_still, original
from labkit.seeding import sample_keys
from labkit.threats.records import Records


def raise_yield(
    model: Model, result: AttackResult, worth: Callable[[Tensor], Tensor], *, queries: int = 200, spread: float = 0.15, seed: int = 0
) -> AttackResult:
    """Return the result with every successful record moved at random, as ``evade_by_queries`` moves, while silent and worth no less.

    ``worth``: from the records (B, F) of all B inputs, in their order, what each achieves, (B,). ``queries``: at most so many for each
    record, counted in ``forwards``; none is spent on a record that is worth less or has not moved. Where a service stops answering, what
    was found so far is the result (``out_of_queries``). Raises TypeError for another threat than ``Records``, ValueError for options out of
    range and for a worth of another shape.
    """
    threat = result.threat
    if not isinstance(threat, Records):
        raise TypeError(f"records are moved under a Records threat, got {threat}")
    if queries < 1 or spread <= 0:
        raise ValueError(f"queries of 1 or more and a spread above 0 are needed, got {queries} and {spread}")
    turned, judge = result.success & ~result.already, original(model)
    region, keys = threat.region(result.x), sample_keys(result.x, seed)
    record, best, spent = result.x_adv.clone(), worth(result.x_adv), torch.zeros_like(result.forwards)
    if best.shape != turned.shape:
        raise ValueError(f"worth must return one number for each record, ({len(result)},), got {tuple(best.shape)}")
    cut_off = torch.zeros_like(turned)
    with held_still(judge), torch.no_grad():
        try:
            for turn in range(1, queries + 1 if bool(turned.any()) else 1):
                trial = region.project_(moved(region, record, keys, turn, spread))
                now = worth(trial)
                good = silent(judge, trial, turned & (now >= best) & (trial != record).any(1), spent)
                record, best = torch.where(good[:, None], trial, record), torch.where(good, now, best)
        except OutOfQueries:  # the service answers no more: what was found so far still passes
            cut_off = turned
    flags = {**result.flags, "out_of_queries": result.flags.get("out_of_queries", cut_off) | cut_off}
    distance = torch.where(turned, threat.distance(record, result.x), result.distance)
    meta = {**result.meta, "raised": True}
    return replace(result, x_adv=record, distance=distance, forwards=result.forwards + spent, flags=flags, meta=meta)


__all__ = ["raise_yield"]
