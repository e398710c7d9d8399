"""Equation solving: exact where it must be, refused where it cannot be."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from labkit.attacks.extraction import equation_solving
from labkit.endpoint import Endpoint
from labkit.models import linear


def victim(features: int, classes: int, seed: int, scale: float = 3.0) -> nn.Sequential:
    model = linear(features, classes, seed=seed).double()
    with torch.no_grad():
        model[1].weight.mul_(scale)
    return model


def inputs(n: int, features: int, seed: int) -> Tensor:
    return torch.rand(n, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=15)
@given(features=st.integers(1, 12), classes=st.integers(2, 6), extra=st.integers(0, 3), seed=st.integers(0, 99))
def test_d_plus_1_queries_give_the_model(features: int, classes: int, extra: int, seed: int) -> None:
    """Any softmax regression, binary ones included: the same probabilities everywhere, and the same weights once both are centered."""
    model = victim(features, classes, seed)
    service = Endpoint(model)
    found = equation_solving(service, inputs(features + 1 + extra, features, seed + 1000))
    assert found.queries == service.queries == features + 1 + extra
    fresh = 2 * inputs(50, features, seed + 2000) - 1
    torch.testing.assert_close(found.model(fresh).softmax(1), model(fresh).softmax(1), rtol=0, atol=1e-7)
    weight = model[1].weight.detach()
    torch.testing.assert_close(found.model[1].weight.detach(), weight - weight.mean(0), rtol=0, atol=1e-5)
    assert found.judged(fresh, Endpoint(model)(fresh)).metrics["total variation"] < 1e-6


def test_a_logistic_regression_is_two_classes() -> None:
    model = victim(5, 2, 0)
    found = equation_solving(Endpoint(model), inputs(6, 5, 1)).model
    logit = model[1].weight[1] - model[1].weight[0]
    torch.testing.assert_close(found[1].weight[1] - found[1].weight[0], logit, rtol=0, atol=1e-9)


def test_images_and_float32() -> None:
    """The copy takes inputs of the shape and type that were asked about; float32 answers cost digits, not the attack."""
    model, x = linear(16, 3, seed=2), inputs(40, 16, 3).float().view(-1, 1, 4, 4)
    found = equation_solving(Endpoint(model), x)
    fresh = inputs(20, 16, 4).float().view(-1, 1, 4, 4)
    torch.testing.assert_close(found.model(fresh).softmax(1), model(fresh).softmax(1), rtol=0, atol=1e-4)
    assert found.model[1].weight.dtype == torch.float32


def test_rank_is_checked_before_anything_is_paid() -> None:
    service, x = Endpoint(victim(5, 3, 0)), inputs(6, 5, 1)
    for bad, rank in ((x[:5], 5), (torch.cat([x[:5], x[:1]]), 5), (torch.cat([x[:, :4], torch.full((6, 1), 0.3)], 1), 5)):
        with pytest.raises(ValueError, match=f"give {rank} independent equations for each class, 6 are needed"):
            equation_solving(service, bad)
    assert service.queries == 0
    assert equation_solving(service, x[:3], partial=True).queries == 3


def test_the_service_stops() -> None:
    """With three of six answers the copy fits those three exactly; a service that is closed gives nothing."""
    model, x = victim(5, 3, 0), inputs(6, 5, 1)
    found = equation_solving(Endpoint(model, limit=3), x)
    assert (found.queries, found.complete) == (3, False)
    assert torch.equal(found.x, x[:3])
    torch.testing.assert_close(found.model(x[:3]).softmax(1), model(x[:3]).softmax(1), rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="service gave no answer"):
        equation_solving(Endpoint(model, limit=0), x)


def test_what_cannot_be_solved() -> None:
    model, x = victim(5, 3, 0), inputs(6, 5, 1)
    with pytest.raises(ValueError, match="labels only; for labels there is label_solving"):
        equation_solving(Endpoint(model, answers="labels"), x)
    sure = victim(5, 3, 0, scale=1e5)
    with pytest.raises(ValueError, match="probabilities are exactly 0, which has no logarithm"):
        equation_solving(Endpoint(sure), x)
    with pytest.raises(ValueError, match="must be 'equations' or 'likelihood', got 'guess'"):
        equation_solving(Endpoint(model), x, method="guess")  # type: ignore[arg-type]


def test_likelihood_finds_the_exact_model_too() -> None:
    model = victim(6, 4, 3)
    found = equation_solving(Endpoint(model), inputs(60, 6, 4), method="likelihood")
    fresh = inputs(50, 6, 5)
    torch.testing.assert_close(found.model(fresh).softmax(1), model(fresh).softmax(1), rtol=0, atol=1e-4)


def test_likelihood_survives_rounding_better() -> None:
    """Two decimals, mostly sure answers: logarithms of small rounded numbers mislead least squares. More answers help both."""
    model, fresh = victim(8, 5, 7, scale=20.0), 2 * inputs(2000, 8, 8) - 1
    truth = Endpoint(model)(fresh)
    away = {}
    for method in ("equations", "likelihood"):
        for n in (60, 600):
            found = equation_solving(Endpoint(model, decimals=2), 2 * inputs(n, 8, 9) - 1, method=method, decimals=2)
            away[method, n] = found.judged(fresh, truth).metrics["total variation"]
    assert away["likelihood", 600] < away["likelihood", 60] < away["equations", 60]
    assert away["likelihood", 600] < 0.3 * away["equations", 600]
    assert away["likelihood", 600] < 0.01
