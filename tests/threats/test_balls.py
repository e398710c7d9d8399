"""Balls: exact membership, random points, steps, masks, errors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from labkit.seeding import sample_keys
from labkit.threats import L0, L1, L2, Ball, Linf, Region
from tests.attacks.evasion.suite import check_ball, check_uniform, inputs

BALLS = [Linf(0.3), Linf(8 / 255), L2(0.5), L2(4.0), L1(0.7), L1(9.0), L0(2), L0(5, per="feature"), L2(1.0, low=-1, high=2), Linf(0)]
each_ball = pytest.mark.parametrize("ball", BALLS, ids=str)


@each_ball
@pytest.mark.parametrize("size", [0.02, 0.5, 30.0])
def test_projection(ball: Ball, size: float) -> None:
    x = inputs(6)
    check_ball(ball, x + size * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype), x)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([Linf, L2, L1]), st.floats(1e-9, 3), st.integers(0, 10**6), st.sampled_from([1e-3, 0.3, 20.0]))
def test_projection_in_float32_is_inside_without_tolerance(kind: type[Ball], eps: float, seed: int, size: float) -> None:
    x = inputs(4, dtype=torch.float32, seed=seed)
    x_adv = x + size * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    for point in (kind(eps).project(x_adv, x), kind(eps).sample(x, seed)):
        change = (point.double() - x.double()).flatten(1)
        length = {"linf": change.abs().amax(1), "l2": change.norm(dim=1), "l1": change.abs().sum(1)}[kind.norm]
        assert float(length.max()) <= eps * (1 + 1e-14)
        assert float(point.min()) >= 0
        assert float(point.max()) <= 1
        assert bool(kind(eps).contains(point, x).all())


def test_the_usual_formula_would_leave_the_ball() -> None:
    """The reason for the rounding inwards: without it, this many values lie outside."""
    x = inputs(50, dtype=torch.float32)
    plain = (x + 0.3).clamp(0, 1)
    assert not bool(Linf(0.3).contains(plain, x).all())
    edge = Linf(0.3).region(x)
    assert bool(Linf(0.3).contains(edge.upper, x).all() & Linf(0.3).contains(edge.lower, x).all())
    assert float((edge.upper - plain).abs().max()) < 2e-7  # and no more than rounding is given away


@pytest.mark.parametrize("ball", [Linf(0.05), L2(0.3), L1(0.3)], ids=str)
def test_random_points_are_uniform(ball: Ball) -> None:
    check_uniform(ball)


def test_random_points_of_l0_change_eps_places_that_are_equally_likely() -> None:
    x = 0.5 + inputs(3000, (6,)) * 1e-6
    changed = L0(2).sample(x, seed=1) != x
    assert changed.sum(1).tolist() == [2] * 3000
    assert float((changed.double().mean(0) - 1 / 3).abs().max()) < 0.035  # four standard errors
    images = inputs(40) * 0.2 + 0.4
    assert (L0(3).sample(images) != images).any(1).flatten(1).sum(1).tolist() == [3] * 40
    assert torch.equal(L0(0).sample(images), images)


@each_ball
def test_random_points_belong_to_the_sample(ball: Ball) -> None:
    x = inputs(7)
    whole = ball.sample(x, seed=3, stream=2)
    assert torch.equal(ball.sample(x[[4, 1]], seed=3, stream=2), whole[[4, 1]])
    assert torch.equal(ball.sample(x, seed=3, stream=2), whole)
    if ball.eps:
        assert not torch.equal(ball.sample(x, seed=4, stream=2), whole)
        assert not torch.equal(ball.sample(x, seed=3, stream=1), whole)
    assert bool(ball.contains(whole, x).all())


@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_no_inputs(ball: Ball) -> None:
    nothing = inputs(0)
    assert ball.sample(nothing).shape == ball.project(nothing, nothing).shape == (0, 3, 4, 4)
    assert ball.distance(nothing, nothing).shape == ball.contains(nothing, nothing).shape == (0,)


def test_distances_by_hand() -> None:
    x, x_adv = torch.zeros(1, 2, 1, 2), torch.tensor([[[[0.3, 0.0]], [[-0.4, 0.0]]]])
    expected = {Linf: 0.4, L2: 0.5, L1: 0.7, L0: 1.0}
    for kind, value in expected.items():
        assert kind().distance(x_adv, x).item() == pytest.approx(value, rel=1e-6)
        assert kind().distance(x_adv, x).dtype == torch.float64
    assert L0(1, per="feature").distance(x_adv, x).item() == 2
    assert L0(1).distance(x_adv.flatten(1), x.flatten(1)).item() == 2  # no image: no pixels


def test_contains_has_no_tolerance() -> None:
    x = torch.full((1, 2), 0.5, dtype=torch.float64)
    assert bool(Linf(0.25).contains(x + 0.25, x))
    assert not bool(Linf(0.25).contains(torch.nextafter(x + 0.25, x + 1), x))
    assert not bool(Linf(1).contains(torch.nextafter(x + 0.5, x + 1), x))
    assert not bool(Linf(1).contains(x * torch.nan, x))
    mask = torch.tensor([1.0, 0.0])
    assert bool(Linf(0.25, mask=mask).contains(x + 0.25 * mask, x))
    assert not bool(Linf(0.25, mask=mask).contains(x + 0.25, x))


@pytest.mark.parametrize("ball", [Linf(0.2), L2(0.8), L1(1.0), L0(3)], ids=str)
def test_a_mask_holds_in_every_operation(ball: Ball) -> None:
    mask = (inputs(1)[0] > 0.5).double()
    masked = type(ball)(ball.eps, mask=mask)
    x = inputs(5)
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    region = masked.region(x)
    for point in (masked.sample(x), masked.project(x + grad, x), region.settle_(region.step_(x.clone(), grad.clone(), 0.5))):
        assert torch.equal(torch.where(mask.bool(), x, point), x)
        assert bool(masked.contains(point, x).all())
        assert not torch.equal(point, x)


STEEPEST: list[tuple[Ball, list[float]]] = [
    (Linf(9), [0.1, -0.1, 0.1, 0]), (L2(9), [0.1 * 2 / 3, -0.1 / 3, 0.1 * 2 / 3, 0]), (L1(9, sparsity=0.5), [0.05, 0, 0.05, 0]),
    (L1(9), [0.1, 0, 0, 0]), (L0(4), [0.04, -0.02, 0.04, 0]),
]  # fmt: skip


@pytest.mark.parametrize(("ball", "expected"), STEEPEST, ids=lambda part: str(part))
@pytest.mark.parametrize("scale", [1.0, 1e-38, 1e30])
def test_a_step_has_the_length_asked_for_however_small_the_gradient(ball: Ball, expected: list[float], scale: float) -> None:
    x = torch.full((1, 4), 0.5, dtype=torch.float64)
    grad = torch.tensor([[2.0, -1.0, 2.0, 0.0]], dtype=torch.float64) * scale
    moved = ball.region(x).step_(x.clone(), grad, 0.1) - x
    if ball == L1(9):  # either of the two largest
        moved = moved.sort(descending=True).values
    torch.testing.assert_close(moved, torch.tensor([expected], dtype=torch.float64), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ball", [Linf(0.2), L2(0.8), L1(1.0), L0(3)], ids=str)
def test_broken_gradients_move_nothing_but_are_no_harm(ball: Ball) -> None:
    x = inputs(3)
    grad = torch.ones_like(x)
    grad[1] = torch.nan
    grad[2] = torch.inf
    moved = ball.region(x).step_(x.clone(), grad, 0.1)
    assert torch.equal(moved[1], x[1])
    assert bool(moved.isfinite().all())
    torch.testing.assert_close(moved[:1], ball.region(x[:1]).step_(x[:1].clone(), torch.ones_like(x[:1]), 0.1), rtol=0, atol=0)


def test_l1_step_skips_what_cannot_move() -> None:
    x = torch.tensor([[1.0, 0.5, 0.0]], dtype=torch.float64)
    moved = L1(0.2).region(x).step_(x.clone(), torch.tensor([[3.0, 1.0, -2.0]], dtype=torch.float64), 0.1)
    torch.testing.assert_close(moved, torch.tensor([[1.0, 0.6, 0.0]], dtype=torch.float64))


def test_region_of_some_of_the_inputs() -> None:
    x = inputs(5)
    part, alone = Linf(0.3).region(x).take(torch.tensor([3, 0])), Linf(0.3).region(x[[3, 0]])
    assert torch.equal(part.lower, alone.lower)
    assert torch.equal(part.upper, alone.upper)
    assert torch.equal(part.x, alone.x)
    assert isinstance(part, Region)


def test_settle_moves_only_what_is_outside_and_hardly() -> None:
    for dtype, gap in ((torch.float32, 1e-6), (torch.float64, 1e-14)):
        x = inputs(20, dtype=dtype)
        inside = L2(0.5).sample(x)
        assert torch.equal(L2(0.5).region(x).settle_(inside.clone()), inside)
        change = torch.where(x > 0.5, -1.0, 1.0).to(dtype).flatten(1)
        outside = x + (change / change.norm(dim=1, keepdim=True) * 0.5 * (1 + 3 * torch.finfo(dtype).eps)).view_as(x)
        settled = L2(0.5).region(x).settle_(outside.clone())
        assert bool(L2(0.5).contains(settled, x).all())
        assert float((settled - outside).abs().max()) < gap


def test_balls_without_a_budget() -> None:
    x = inputs(2)
    assert float(Linf().project(x + 5, x).max()) == 1.0
    assert bool(L2().contains(1 - x, x).all())
    with pytest.raises(ValueError, match="no budget"):
        L2().sample(x)


def test_default_steps() -> None:
    shape = torch.Size((1, 3, 4, 4))
    assert Linf(0.3).default_step(1, shape) == 0.3
    assert Linf(0.3).default_step(10, shape) == pytest.approx(0.075)
    assert L0(5).default_step(10, shape) == pytest.approx(0.15 * 48)


def test_names() -> None:
    assert [str(ball) for ball in (Linf(8 / 255), Linf(0.3), L2(0.5), L0(20), Linf())] == [
        "Linf(8/255)", "Linf(0.3)", "L2(0.5)", "L0(20)", "Linf(no budget)"]  # fmt: skip


def test_wrong_balls() -> None:
    with pytest.raises(ValueError, match="eps must be 0 or more, got -1"):
        Linf(-1)
    with pytest.raises(ValueError, match="nan"):
        L2(math.nan)
    with pytest.raises(ValueError, match="empty"):
        Linf(0.1, low=1, high=0)
    with pytest.raises(ValueError, match="whole number"):
        L0(1.5)
    with pytest.raises(ValueError, match="'pixel' or 'feature'"):
        L0(1, per="channel")


def test_the_global_generator_is_left_alone() -> None:
    before: Tensor = torch.get_rng_state()
    x = inputs(2)
    for ball in BALLS:
        ball.sample(x, seed=1)
    sample_keys(x, 1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("ball", [Linf(0.2), L2(0.8), L1(1.0), L0(3)], ids=str)
def test_a_step_leaves_the_gradient_alone_even_one_number_seen_from_many_places(ball: Ball) -> None:
    x = inputs(3)
    seen = torch.tensor(2.0, dtype=x.dtype).expand(x.shape)
    grad = torch.full_like(x, 2.0)
    assert torch.equal(ball.region(x).step_(x.clone(), seen, 0.1), ball.region(x).step_(x.clone(), grad, 0.1))
    assert bool((grad == 2).all())
