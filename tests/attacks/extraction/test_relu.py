"""A one-hidden-layer network, copied to rounding errors; what is not one is not called complete."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from labkit.attacks.extraction import relu_solving
from labkit.attacks.extraction.creases import bends_on
from labkit.endpoint import Endpoint, OutOfQueries
from labkit.models import mlp


def network(features: int, classes: int, hidden: tuple[int, ...], seed: int) -> nn.Sequential:
    return mlp(features, classes, hidden, seed=seed).double()


def away(copy: nn.Module, model: nn.Module, features: int) -> float:
    """Return the largest difference of log-ratios on points in and around the unit cube."""
    x = 4 * torch.rand(2000, features, generator=torch.Generator().manual_seed(9), dtype=torch.float64) - 2
    ours, theirs = (net(x).detach() for net in (copy, model))
    return float(((ours - ours[:, -1:]) - (theirs - theirs[:, -1:])).abs().max())


def middle(features: int) -> Tensor:
    return torch.full((features,), 0.5, dtype=torch.float64)


@settings(deadline=None, max_examples=12)
@given(kinks=st.lists(st.integers(-900, 900), min_size=0, max_size=9, unique=True), seed=st.integers(0, 99))
def test_all_bends_of_a_line_are_found(kinks: list[int], seed: int) -> None:
    places = torch.tensor(sorted(kinks), dtype=torch.float64) / 100
    factors = 0.5 + torch.rand(len(kinks), 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def value(t: Tensor) -> Tensor:
        return (t[:, None] - places).abs() @ factors + t[:, None]

    found = bends_on(value, -10.0, 10.0)
    assert found == pytest.approx(places.tolist(), abs=1e-8)


@settings(deadline=None, max_examples=10)
@given(features=st.integers(6, 20), classes=st.integers(2, 5), hidden=st.integers(1, 6), seed=st.integers(0, 999))
def test_a_small_network_is_copied_weight_by_weight(features: int, classes: int, hidden: int, seed: int) -> None:
    """As many units as the original has, every row of weights along one of its rows, the same answers to 2^-20."""
    model = network(features, classes, (hidden,), seed)
    service = Endpoint(model)
    found = relu_solving(service, middle(features), patience=8)
    assert found.complete
    assert found.queries == service.queries == len(found.x)
    assert away(found.model, model, features) < 2**-20
    ours, theirs = (nn.functional.normalize(net[1].weight.detach()) for net in (found.model, model))
    assert len(ours) == hidden
    assert float((ours @ theirs.T).amax(1).min()) > 1 - 1e-9, "a unit faces the wrong way"


def test_more_units_than_equations() -> None:
    """Thirty units on ten inputs: the sides cannot be told apart, so two more units carry the linear rest, and the answers are the same."""
    model = network(10, 2, (30,), 0)
    found = relu_solving(Endpoint(model), middle(10), patience=8)
    assert found.complete
    assert found.model[1].out_features == 32
    assert away(found.model, model, 10) < 2**-20


def test_the_network_may_be_linear() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3).double())
    found = relu_solving(Endpoint(model), middle(6))
    assert found.complete
    assert away(found.model, model, 6) < 1e-9


def test_a_deeper_network_is_not_called_complete() -> None:
    assert not relu_solving(Endpoint(network(6, 3, (5, 5), 1)), middle(6), lines=8).complete


def test_what_bends_only_far_away_is_not_called_complete() -> None:
    """Linear around the center, where the copy is fitted; the one line that is drawn runs beside the bend, the far points lie behind it."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3).double())
    with torch.no_grad():
        model[1].weight.copy_(torch.arange(18.0).reshape(3, 6).sin() / 10)

    def bent(x: Tensor) -> Tensor:
        return model(torch.cat([x[:, :1].clamp(max=7.0), x[:, 1:]], 1))

    found = relu_solving(Endpoint(bent), middle(6), lines=1, seed=3)
    assert found.model[1].out_features == 4, "the line met the bend: choose another seed"
    assert not found.complete
    assert relu_solving(Endpoint(model), middle(6), lines=1, seed=3).complete


def test_known_width_saves_lines() -> None:
    model = network(8, 3, (5,), 2)
    told = relu_solving(Endpoint(model), middle(8), hidden=5)
    guessed = relu_solving(Endpoint(model), middle(8))
    assert told.queries < guessed.queries
    assert away(told.model, model, 8) < 2**-20


def test_the_service_stops() -> None:
    """What was found stays: a network of the units known so far, not complete."""
    model = network(8, 3, (12,), 2)
    whole = relu_solving(Endpoint(model), middle(8)).queries
    found = relu_solving(Endpoint(model, limit=whole // 3), middle(8))
    assert (found.queries, found.complete) == (whole // 3, False)
    assert found.model[1].out_features > 0
    fresh = torch.rand(500, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float(found.fidelity(fresh, model(fresh).argmax(1))) > 0.5
    with pytest.raises(OutOfQueries, match="not one query was answered"):
        relu_solving(Endpoint(model, limit=0), middle(8))


def test_without_a_log_only_the_inputs_are_missing() -> None:
    model = network(8, 3, (5,), 2)
    with_log, without = (relu_solving(Endpoint(model), middle(8), log=log) for log in (True, False))
    assert without.queries == with_log.queries
    assert len(without.x) == 0
    assert torch.equal(without.model[1].weight, with_log.model[1].weight)


def test_what_hides_the_bends() -> None:
    model = network(8, 3, (5,), 2)
    with pytest.raises(ValueError, match=r"float64 numbers; the center is torch\.float32"):
        relu_solving(Endpoint(model), middle(8).float())
    with pytest.raises(ValueError, match=r"float64 probabilities only; the service says torch\.int64 of shape \(1,\)"):
        relu_solving(Endpoint(model, answers="labels"), middle(8))
    with pytest.raises(ValueError, match="does the service round"):
        relu_solving(Endpoint(model, decimals=4), middle(8))
    smooth = mlp(8, 3, (5,), nn.Tanh, seed=2).double()
    with pytest.raises(ValueError, match="not piecewise linear"):
        relu_solving(Endpoint(smooth), middle(8))
