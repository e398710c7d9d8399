"""Labels only: the direction of a linear model to the tolerance of the bisection."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from labkit.attacks.extraction import label_solving
from labkit.endpoint import Endpoint
from labkit.models import linear
from tests.attacks.extraction.test_equations import inputs, victim


def angle(one: Tensor, other: Tensor) -> float:
    """Return the angle between two directions: by the difference of unit vectors, which the cosine cannot resolve below 1e-8."""
    a, b = one / one.norm(), other / other.norm()
    return 2 * math.asin(min(1.0, float((a - b).norm()) / 2))


def plane(model: torch.nn.Module) -> Tensor:
    """Return (w, b) of the boundary of a binary model."""
    layer = model[1]  # type: ignore[index]
    return torch.cat([layer.weight[1] - layer.weight[0], (layer.bias[1] - layer.bias[0])[None]]).detach()


@settings(deadline=None, max_examples=12)
@given(features=st.integers(2, 8), steps=st.integers(10, 40), seed=st.integers(0, 99))
def test_the_angle_is_bounded_by_the_tolerance(features: int, steps: int, seed: int) -> None:
    """Each equation is off by at most its interval along its line, the direction by |errors| over the second smallest singular value."""
    model, starts = victim(features, 2, seed), 2 * inputs(40, features, seed + 500) - 1
    if len(model(starts).argmax(1).unique()) < 2:
        return
    service = Endpoint(model, answers="labels")
    found = label_solving(service, starts, points=3 * features, steps=steps)
    truth = plane(model) / plane(model).norm()
    ends = found.x[-3 * features :]  # the last points asked about lie within two last intervals of the boundary
    known = torch.cat([ends, ends.new_ones(len(ends), 1)], 1)
    gap = torch.linalg.svdvals(known)[-2]
    slack = 4 * math.sqrt(features) * 2.0**-steps * math.sqrt(3 * features)
    assert angle(plane(found.model), truth) <= 2 * (slack + 1e-13) / float(gap) + 1e-12
    assert found.queries == service.queries == 40 + 3 * features * steps


def test_halving_more_often_is_more_exact() -> None:
    model, starts = victim(6, 2, 1), 2 * inputs(40, 6, 2) - 1
    away = [
        angle(plane(label_solving(Endpoint(model, answers="labels"), starts, steps=steps).model), plane(model)) for steps in (10, 20, 40)
    ]
    assert away[0] > 100 * away[1] > 1e4 * away[2]
    assert away[2] < 1e-9


def test_many_classes_decide_alike() -> None:
    """Five classes: the same decisions on fresh inputs, weights equal up to one scale and one shift."""
    model, starts = victim(6, 5, 3, scale=10.0), 2 * inputs(300, 6, 4) - 1
    service = Endpoint(model, answers="labels")
    found = label_solving(service, starts)
    fresh = 2 * inputs(3000, 6, 5) - 1
    assert float(found.judged(fresh, Endpoint(model, answers="labels")(fresh)).metrics["fidelity"]) == 1.0
    ours, theirs = (layer.weight.detach() - layer.weight.detach().mean(0) for layer in (found.model[1], model[1]))
    assert angle(ours.flatten(), theirs.flatten()) < 1e-8
    assert found.queries == service.queries == 300 + round(1.3 * (4 * 7 - 1)) * 45


def test_a_rough_copy_faces_the_right_way() -> None:
    """With eight classes a rough copy is right on less than half of its starts; turned around it would be far worse still."""
    for seed in range(4):
        model, starts = victim(6, 8, seed, scale=10.0), 2 * inputs(300, 6, 4) - 1
        found, fresh = label_solving(Endpoint(model), starts, steps=1).model, 2 * inputs(1000, 6, 5) - 1
        right = [float((scores.argmax(1) == model(fresh).argmax(1)).double().mean()) for scores in (found(fresh), -found(fresh))]
        assert right[0] > right[1], (seed, right)


def test_scores_are_read_as_labels() -> None:
    model, starts = victim(4, 3, 0, scale=10.0), 2 * inputs(60, 4, 2) - 1
    one = label_solving(Endpoint(model, answers="labels"), starts).model[1].weight
    for service in (Endpoint(model), Endpoint(model, answers="top", top=1)):
        assert torch.equal(label_solving(service, starts).model[1].weight, one)


def test_a_class_that_never_came_is_never_answered() -> None:
    model = linear(4, 4, seed=0).double()
    with torch.no_grad():
        model[1].weight.mul_(10)
        model[1].bias[1] = -100.0
    found = label_solving(Endpoint(model, answers="labels"), 2 * inputs(100, 4, 2) - 1, classes=6)
    assert found.model[1].out_features == 6
    fresh = 2 * inputs(500, 4, 3) - 1
    assert torch.equal(found.model(fresh).argmax(1), model(fresh).argmax(1))


def test_the_service_stops() -> None:
    model, starts = victim(6, 2, 1), 2 * inputs(40, 6, 2) - 1
    found = label_solving(Endpoint(model, answers="labels", limit=40 + 8 * 6 + 5), starts, points=8)
    assert (found.queries, found.complete) == (93, False)
    assert 1e-9 < angle(plane(found.model), plane(model)) < 0.2


def test_wrong_calls() -> None:
    model, starts = victim(6, 2, 1), 2 * inputs(40, 6, 2) - 1
    same = starts[model(starts).argmax(1) == 0]
    with pytest.raises(ValueError, match=r"starts have label \[0\]"):
        label_solving(Endpoint(model), same)
    with pytest.raises(ValueError, match="3 boundary points leave more than one answer for 6 unknowns of 2 classes"):
        label_solving(Endpoint(model), starts, points=3)
    with pytest.raises(ValueError, match="steps must be 1 or more halvings, got 0"):
        label_solving(Endpoint(model), starts, steps=0)
    with pytest.raises(ValueError, match="classes=1, but the service answered 1"):
        label_solving(Endpoint(model), starts, classes=1)
