"""Distillation: on a linear teacher the copy is known; every query is counted; who chooses what to ask is tested by what was asked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labkit.attacks.extraction import SoftLabels, distill
from labkit.endpoint import Endpoint, OutOfQueries
from labkit.models import linear
from labkit.training.objectives import StepState
from tests.attacks.extraction.toys import pool, teacher

FAST: dict[str, Any] = {"epochs": 60, "batch_size": 32, "learning_rate": 0.1, "cache": False}


def build() -> nn.Module:
    return linear(4, 3, seed=9)


def test_soft_labels_are_the_cross_entropy_with_each_inputs_own_row() -> None:
    model, x = build(), pool(6)
    answers = torch.rand(10, 3, generator=torch.Generator().manual_seed(3)).softmax(1)
    y = torch.tensor([4, 0, 9, 1, 1, 7])
    expected = -(answers[y] * model(x).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(SoftLabels(answers).loss(model, x, y, StepState()), expected)
    hard = torch.eye(3)[torch.arange(10) % 3]
    torch.testing.assert_close(SoftLabels(hard).loss(model, x, y, StepState()), cross_entropy(model(x), y % 3))
    assert SoftLabels(answers).recipe() != SoftLabels(hard).recipe(), "two sets of answers would share a cache entry"


def test_a_linear_student_becomes_its_linear_teacher() -> None:
    """Probabilities teach the teacher itself; labels only its boundaries; both beat the untrained student."""
    model, fresh = teacher(), pool(2000, seed=5)
    truth = Endpoint(model)(fresh)
    soft = distill(Endpoint(model), pool(400), build, budget=300, **FAST).judged(fresh, truth)
    hard = distill(Endpoint(model, answers="labels"), pool(400), build, budget=300, **FAST).judged(fresh, truth)
    assert soft.metrics["total variation"] < 0.01
    assert float(soft.metrics["fidelity"]) > 0.99
    assert 0.95 < float(hard.metrics["fidelity"]) <= float(soft.metrics["fidelity"])
    assert hard.metrics["total variation"] > 5 * soft.metrics["total variation"]
    assert soft.answers is not None
    torch.testing.assert_close(soft.answers, Endpoint(model)(soft.x))
    assert hard.answers is None


def test_queries_are_counted_and_none_is_made_twice() -> None:
    model = teacher()
    for choose, rounds in (("random", 1), ("random", 3), ("uncertain", 4)):
        service = Endpoint(model)
        found = distill(service, pool(100), build, budget=50, choose=choose, rounds=rounds, **FAST)
        assert found.queries == service.queries == 50 == len(found.x)
        assert len(torch.unique(found.x, dim=0)) == 50
        assert found.sizes == ([12, 25, 37, 50] if choose == "uncertain" else [50])
        assert found.complete


def test_random_choice_is_the_seeds_and_rounds_do_not_change_it() -> None:
    model = teacher()
    one, three = (distill(Endpoint(model), pool(100), build, budget=50, rounds=rounds, **FAST) for rounds in (1, 3))
    assert torch.equal(one.x, three.x)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), three.model.parameters(), strict=True))
    assert not torch.equal(distill(Endpoint(model), pool(100), build, budget=50, seed=1, **FAST).x, one.x)


def test_the_uncertain_ask_near_their_own_boundaries() -> None:
    """The second half lies where the copy made of the first half leads least: exactly those of the pool."""
    model, whole = teacher(), pool(200)
    half = distill(Endpoint(model), whole, build, budget=20, **FAST)
    both = distill(Endpoint(model), whole, build, budget=40, choose="uncertain", rounds=2, **FAST)
    assert torch.equal(both.x[:20], half.x)
    with torch.no_grad():
        best = half.model(whole).softmax(1).topk(2, dim=1).values
    lead = best[:, 0] - best[:, 1]
    asked = (whole[:, None] == half.x[None]).all(2).any(1)
    expected = whole[torch.where(asked, torch.inf, lead).argsort()[:20]]
    assert torch.equal(both.x[20:].sort(0).values, expected.sort(0).values)


def test_the_service_stops_and_the_copy_is_of_what_came() -> None:
    model = teacher()
    stopped = distill(Endpoint(model, limit=23), pool(100), build, budget=50, choose="uncertain", rounds=5, **FAST)
    assert (stopped.queries, stopped.sizes, stopped.complete) == (23, [10, 20, 23], False)
    with pytest.raises(OutOfQueries, match="not one query was answered"):
        distill(Endpoint(model, limit=0), pool(100), build, budget=50, **FAST)


def test_lists_of_the_likeliest_teach_too() -> None:
    model, fresh = teacher(), pool(2000, seed=5)
    found = distill(Endpoint(model, answers="top", top=2), pool(400), build, budget=300, classes=3, **FAST)
    assert found.judged(fresh, Endpoint(model)(fresh)).metrics["total variation"] < 0.01, "of three classes two tell the third"


def test_wrong_calls() -> None:
    service = Endpoint(teacher())
    with pytest.raises(ValueError, match="budget of 101 queries does not fit a pool of 100"):
        distill(service, pool(100), build, budget=101)
    with pytest.raises(ValueError, match="rounds 1 or more, got 'random' and 0"):
        distill(service, pool(100), build, budget=10, rounds=0)
    with pytest.raises(ValueError, match="must be 'random' or 'uncertain'"):
        distill(service, pool(100), build, budget=10, choose="best")  # type: ignore[arg-type]
    assert service.queries == 0
