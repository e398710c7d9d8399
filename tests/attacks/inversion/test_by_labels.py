"""Inversion by labels, on regions whose deepest point is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from labkit.attacks.inversion import Eigenfaces, invert_by_labels
from labkit.endpoint import Endpoint


def plane(size: int = 3) -> Eigenfaces:
    """A prior whose coordinates are the values themselves, without bounds."""
    return Eigenfaces(torch.zeros(size, dtype=torch.float64), torch.eye(size, dtype=torch.float64), bounds=(-1e9, 1e9))


def ball(x: Tensor) -> Tensor:
    """Class 1 within 1.5 of the point (1, 1, 0), else class 0."""
    inside = (x - torch.tensor([1.0, 1.0, 0.0])).norm(dim=1) < 1.5
    return torch.stack([0.5 - inside.double(), inside.double() - 0.5], 1)


def test_it_walks_to_the_middle_of_a_ball() -> None:
    service = Endpoint(ball, answers="labels")
    found = invert_by_labels(service, torch.tensor([1]), plane(), queries=3000, radius=0.3)
    assert float((found.x[0] - torch.tensor([1.0, 1.0, 0.0])).norm()) < 0.35
    assert 1.1 < float(found.meta["radius"][0]) <= 1.5
    assert float(found.confidence[0]) == 1.0
    assert service.queries == int(found.queries[0]) <= 3000


def test_a_class_that_is_never_met_is_said_to_be() -> None:
    service = Endpoint(lambda x: torch.tensor([[1.0, 0.0]]).expand(len(x), 2), answers="labels")
    found = invert_by_labels(service, torch.tensor([1, 0]), plane(), queries=100, samples=10)
    assert found.blind.tolist() == [True, False]
    assert found.confidence.tolist() == [0.0, 1.0]
    assert bool((found.x[0] == 0).all())
    assert found.queries[0] == 100


def test_a_classs_search_does_not_depend_on_the_others() -> None:
    service = Endpoint(ball, answers="labels")
    both = invert_by_labels(service, torch.tensor([0, 1]), plane(), queries=500)
    alone = invert_by_labels(service, torch.tensor([1]), plane(), queries=500)
    assert torch.equal(both.x[1], alone.x[0])


def test_a_walk_can_be_kept_near() -> None:
    def half(x: Tensor) -> Tensor:
        return torch.stack([-x[:, 0], x[:, 0]], 1)

    free, near = (
        invert_by_labels(Endpoint(half, answers="labels"), torch.tensor([1]), plane(), queries=3000, within=w) for w in (1e9, 2.0)
    )
    assert float(free.code.square().mean().sqrt()) > 4
    assert float(near.code.square().mean().sqrt()) <= 2.0 + 1e-9


def test_a_limit_of_the_service_ends_the_search() -> None:
    service = Endpoint(ball, answers="labels", limit=200)
    found = invert_by_labels(service, torch.tensor([1]), plane(), queries=5000)
    assert service.queries <= 200
    assert int(found.queries) == service.queries
    assert found.stopped == ("queries",)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="growth above 1"):
        invert_by_labels(Endpoint(ball, answers="labels"), torch.tensor([1]), plane(), growth=1.0)
    with pytest.raises(ValueError, match="answers='labels'"):
        invert_by_labels(Endpoint(ball), torch.tensor([1]), plane())  # type: ignore[arg-type]
