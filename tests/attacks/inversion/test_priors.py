"""Priors: pictures in their span come back, penalties are what they say, and clamping does not stop a search."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.attacks.inversion import Eigenfaces, Pixels, smooth, total_variation
from labkit.seeding import generator


def public(count: int = 20) -> torch.Tensor:
    return 0.5 + 0.05 * torch.randn(count, 1, 5, 5, generator=generator(1, "public"), dtype=torch.float64)


@settings(max_examples=10)
@given(size=st.integers(1, 19))
def test_codes_come_back(size: int) -> None:
    prior = Eigenfaces.fit(public(), size)
    code = 0.5 * torch.randn(4, size, generator=generator(size, "code"), dtype=torch.float64)
    assert torch.allclose(prior.encode(prior.decode(code)), code, atol=1e-8)
    assert torch.equal(prior.decode(prior.start(2))[0], public().mean(0).clamp(0, 1))


def test_coordinates_are_standard_deviations() -> None:
    codes = Eigenfaces.fit(public(), 6).encode(public())
    assert torch.allclose(codes.std(0), torch.ones(6, dtype=torch.float64))
    assert torch.allclose(codes.mean(0), torch.zeros(6, dtype=torch.float64), atol=1e-9)


def test_all_components_hold_everything() -> None:
    prior = Eigenfaces.fit(public(), 19)
    assert torch.allclose(prior.decode(prior.encode(public())), public(), atol=1e-9)


def test_its_penalty_is_half_the_squared_length() -> None:
    code = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    assert Eigenfaces.fit(public(), 2, weight=0.1).penalty(code).tolist() == [pytest.approx(1.25)]
    assert Pixels((1, 5, 5)).penalty(public()).tolist() == [0.0] * 20
    assert torch.allclose(Pixels((1, 5, 5), tv=2.0).penalty(public()), 2 * total_variation(public()))


@pytest.mark.parametrize("count", [0, 20])
def test_too_many_components_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"span 1 to 19 components, asked for {count}"):
        Eigenfaces.fit(public(), count)


def test_total_variation_counts_edges() -> None:
    step = torch.zeros(1, 1, 4, 4)
    step[..., 2:] = 1
    assert float(total_variation(step)) == pytest.approx(4 / 12)  # one of three columns of differences
    assert float(total_variation(torch.ones(1, 1, 4, 4))) == 0


def test_smoothing_keeps_what_is_flat_and_spreads_a_dot() -> None:
    assert torch.allclose(smooth(torch.full((1, 1, 4, 4), 0.3)), torch.full((1, 1, 4, 4), 0.3))
    dot = torch.zeros(1, 1, 5, 5)
    dot[..., 2, 2] = 9
    assert smooth(dot, 1.0)[0, 0, 1:4, 1:4].tolist() == [[1.0] * 3] * 3
    with pytest.raises(ValueError, match=r"got 1\.2"):
        smooth(dot, 1.2)


def test_a_value_at_the_bound_keeps_its_gradient() -> None:
    code = torch.tensor([[0.0, 1.0, 0.5, -0.2]], requires_grad=True)
    (slope,) = torch.autograd.grad(Pixels((4,)).decode(code).sum(), code)
    assert slope.tolist() == [[1.0] * 4]
    assert Pixels((4,)).decode(code).tolist() == [[0.0, 1.0, 0.5, 0.0]]
