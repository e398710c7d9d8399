"""Copies trained together are the copies trained alone: a plain loop is the known answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from labkit.attacks.extraction import Plan, distill, distill_together
from labkit.endpoint import Endpoint, OutOfQueries
from labkit.models import linear, mlp
from labkit.seeding import generator
from tests.attacks.extraction.toys import pool, teacher

FAST: dict[str, Any] = {"steps": 40, "batch_size": 8, "learning_rate": 0.02, "cache": False}


def plans() -> list[Plan]:
    """Services, pools, budgets and seeds all differ; a budget of 5 is smaller than a batch."""
    soft, hard = Endpoint(teacher()), Endpoint(teacher(), answers="labels")
    return [
        Plan(soft, pool(60), mlp(4, 3, (6,), seed=7), 50, seed=0),
        Plan(hard, pool(30, seed=4), mlp(4, 3, (6,), seed=8), 5, seed=1),
        Plan(soft, pool(60), mlp(4, 3, (6,), seed=9), 20, seed=2),
    ]


def by_hand(plan: Plan, steps: int, batch_size: int, learning_rate: float) -> nn.Module:
    """One copy, one step after the other, with the rate written out."""
    order = torch.randperm(len(plan.pool), generator=generator(plan.seed, "distill"))[: plan.budget]
    x, said = plan.pool[order], plan.oracle(plan.pool[order])
    assert isinstance(said, Tensor)
    source, stream = generator(plan.seed, "order together"), list[int]()
    while len(stream) < steps * batch_size:
        stream += torch.randperm(plan.budget, generator=source).tolist()
    optimizer, up = torch.optim.Adam(plan.model.parameters()), round(0.3 * steps)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * min((step + 1) / up, (steps - step) / (steps - up))
        rows = stream[step * batch_size : (step + 1) * batch_size]
        optimizer.zero_grad()
        cross_entropy(plan.model(x[rows]), said[rows]).backward()
        optimizer.step()
    return plan.model


def test_each_copy_is_the_one_trained_alone() -> None:
    found = distill_together(plans(), **FAST)
    for result, plan in zip(found, plans(), strict=True):
        alone = by_hand(plan, FAST["steps"], FAST["batch_size"], FAST["learning_rate"])
        for a, b in zip(result.model.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
    moved = [float((a - b).detach().abs().max()) for a, b in zip(found[0].model.parameters(), plans()[0].model.parameters(), strict=True)]
    assert min(moved) > 0.05, "nothing was learned: agreement would say nothing"


def test_the_questions_are_those_of_distill_and_all_are_counted() -> None:
    service = Endpoint(teacher())
    (one,) = distill_together([Plan(service, pool(60), mlp(4, 3, (6,), seed=7), 50, seed=3)], **FAST)
    other = distill(Endpoint(teacher()), pool(60), lambda: mlp(4, 3, (6,), seed=7), budget=50, seed=3, epochs=1, cache=False)
    assert torch.equal(one.x, other.x)
    assert one.queries == service.queries == 50 == len(torch.unique(one.x, dim=0))
    assert one.answers is not None
    torch.testing.assert_close(one.answers, service(one.x))
    assert one.complete
    assert not one.model.training


def test_a_linear_student_becomes_its_linear_teacher() -> None:
    model, fresh = teacher(), pool(2000, seed=5)
    wanted = [Plan(Endpoint(model, answers=kind), pool(400), linear(4, 3, seed=9), 300) for kind in ("probabilities", "labels")]  # type: ignore[arg-type]
    soft, hard = (
        found.judged(fresh, Endpoint(model)(fresh)) for found in distill_together(wanted, steps=600, learning_rate=0.1, cache=False)
    )
    assert soft.metrics["total variation"] < 0.01
    assert float(soft.metrics["fidelity"]) > 0.99
    assert 0.95 < float(hard.metrics["fidelity"]) <= float(soft.metrics["fidelity"])


def test_what_was_trained_is_kept_and_another_recipe_is_another_copy() -> None:
    settings = FAST | {"cache": True}
    first, again = distill_together(plans(), **settings), distill_together(plans(), **settings)
    other = distill_together(plans(), **settings | {"steps": 41})
    for a, b, c in zip(first, again, other, strict=True):
        assert torch.equal(a.model[1].weight, b.model[1].weight)
        assert not torch.equal(a.model[1].weight, c.model[1].weight)


def test_the_service_stops_and_the_copy_is_of_what_came() -> None:
    stopped, whole = distill_together(
        [Plan(Endpoint(teacher(), limit=limit), pool(60), mlp(4, 3, (6,), seed=7), 50) for limit in (23, 50)], **FAST
    )
    assert (stopped.queries, stopped.complete) == (23, False)
    assert (whole.queries, whole.complete) == (50, True)
    with pytest.raises(OutOfQueries, match="not one query was answered"):
        distill_together([Plan(Endpoint(teacher(), limit=0), pool(60), mlp(4, 3, (6,), seed=7), 50)], **FAST)


def test_wrong_calls() -> None:
    service = Endpoint(teacher())
    model = mlp(4, 3, (6,), seed=7)
    with pytest.raises(ValueError, match="no plans"):
        distill_together([], **FAST)
    with pytest.raises(ValueError, match="budget of 61 queries does not fit a pool of 60"):
        distill_together([Plan(service, pool(60), model, 61)], **FAST)
    with pytest.raises(ValueError, match="one architecture"):
        distill_together([Plan(service, pool(60), model, 5), Plan(service, pool(60), linear(4, 3), 5)], **FAST)
    with pytest.raises(ValueError, match="the very same network"):
        distill_together([Plan(service, pool(60), model, 5), Plan(service, pool(60), model, 5)], **FAST)
    with pytest.raises(ValueError, match="running statistics"):
        distill_together([Plan(service, pool(60), nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)), 5)], **FAST)
    with pytest.raises(ValueError, match="steps, batch_size >= 1"):
        distill_together([Plan(service, pool(60), model, 5)], steps=0)
    assert service.queries == 0
    with pytest.raises(ValueError, match="knows 3 classes, the copy has 2"):
        distill_together([Plan(service, pool(60), mlp(4, 2, (6,)), 5)], **FAST)
