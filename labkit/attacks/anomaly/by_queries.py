"""Evasion inside a record threat by queries: a search that follows the score, and plain guessing for services that tell only the label."""

from __future__ import annotations

import torch
from torch import Tensor

from labkit.attacks.anomaly.by_gradient import _region
from labkit.attacks.engine import Search, attack
from labkit.seeding import normal_for, uniform_for
from labkit.threats.records import RecordRegion


@attack(norms=("records",), needs="scores", loss="margin", without=("precision", "layout", "victim"))
def evade_by_queries(search: Search, *, queries: int = 300, spread: float = 0.15) -> None:
    """Random search over possible records: per query one to three fields move, and the record stays unless its loss fell.

    A field moves to a value anywhere within its limits, or (as often) by a normal step of ``spread`` of its encoded range. An answer as
    good as the last is accepted: where a service tells only the label, all answers before the last are equal, and the search is a random
    walk over what the attacker could send: ``evade_at_random`` is simpler there, and not worse. ``queries``: at most so many for each
    record, the one at the record itself included.
    Raises ValueError for options out of range.

    Notes: the draws belong to the record and the turn, not to the batch. Nothing is asked about an impossible record.
    """
    if queries < 2 or spread <= 0:
        raise ValueError(f"queries of 2 or more and a spread above 0 are needed, got {queries} and {spread}")
    record, logits = search.ask(search.start(random=False))
    if not len(search):
        return
    best = search.loss(record, logits)
    for turn in range(1, queries - int(search.spent[0]) + 1):
        trial = _region(search).project_(moved(_region(search), record, search.keys(), turn, spread))
        trial, logits, record, best = search.ask(trial, record, best)
        if not len(search):
            return
        loss = search.loss(trial, logits)
        kept = loss >= best
        record, best = torch.where(kept[:, None], trial, record), torch.where(kept, loss, best)
    search.finish(record)


def moved(region: RecordRegion, record: Tensor, keys: list[int], turn: int, spread: float) -> Tensor:
    """Return wishes (N, F): one to three free fields of each record move, each anywhere within its limits or by a normal step."""
    free = region.threat.free.to(record.device)
    draw = uniform_for(keys, (3, record.shape[1]), "record search", turn).to(record)
    places = torch.where(free, draw[:, 0], -1.0).argsort(dim=1, descending=True).argsort(dim=1)
    picked = (places < 1 + (3 * draw[:, 2, :1]).floor()) & free
    anywhere = region.lower + draw[:, 1] * (region.upper - region.lower)
    nearby = record + spread * normal_for(keys, (record.shape[1],), "record step", turn).to(record)
    return torch.where(picked, torch.where(draw[:, 2, 1:2] < 0.5, anywhere, nearby), record)


@attack(norms=("records",), needs="decisions", without=("precision", "layout", "victim", "loss"))
def evade_at_random(search: Search, *, queries: int = 300) -> None:
    """Ask about one random allowed record after the other, until one passes.

    Every field is drawn anew within its limits (``Records.sample``). The baseline of every search, and the attack of choice where a
    service tells only the label: until one record passes, its answers say nothing that a search could follow. ``queries``: at most so
    many for each record, the one at the record itself included. Raises ValueError for fewer than two queries.
    """
    if queries < 2:
        raise ValueError(f"queries of 2 or more are needed, got {queries}")
    trial, _ = search.ask(search.start(random=False))
    for turn in range(1, queries):
        if not len(search):
            return
        trial, _ = search.ask(_region(search).sample(search.keys(), turn))
    search.finish(trial)


__all__ = ["evade_at_random", "evade_by_queries"]
