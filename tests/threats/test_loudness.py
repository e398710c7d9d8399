from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.attacks.evasion import pgd
from labkit.seeding import generator
from labkit.threats import L2, Loudness
from labkit.threats.loudness import peak_db, snr, white_noise


def signals(n: int = 4, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    loud = torch.tensor([0.02, 0.1, 0.5, 0.9], dtype=dtype)[:n]
    return (torch.rand(n, 1, 60, generator=generator(1), dtype=dtype) * 2 - 1) * loud.view(-1, 1, 1)


def test_decibels_in_closed_form() -> None:
    x = torch.tensor([[[0.5, -0.5, 0.5, -0.5]]])
    assert float(snr(x * 1.1, x)) == pytest.approx(20, abs=1e-5), "a tenth of the amplitude is 20 dB below"
    assert float(snr(x + 0.05, x)) == pytest.approx(20, abs=1e-5)
    assert float(peak_db(x + 0.05, x)) == pytest.approx(-20, abs=1e-5)
    one = x.clone()
    one[..., 0] += 0.05
    assert float(snr(one, x)) == pytest.approx(20 + 10 * math.log10(4), abs=1e-4), "one sample of four: 6 dB less power, same peak"
    assert float(peak_db(one, x)) == pytest.approx(-20, abs=1e-4)
    assert float(snr(x, x)) == math.inf
    assert float(peak_db(x, x)) == -math.inf
    assert float(snr(x, 0 * x)) == -math.inf


@given(st.floats(0, 60), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_projection_is_idempotent_inside_and_the_nearest(db: float, seed: int) -> None:
    x, threat = signals(), Loudness.at(db)
    wish = x + torch.randn(x.shape, generator=generator(seed), dtype=x.dtype) * 0.1
    once = threat.project(wish, x)
    assert bool(threat.contains(once, x).all())
    assert torch.allclose(threat.project(once, x), once, atol=1e-14)
    assert bool((snr(once, x) >= db - 1e-9).all())
    for i in range(len(x)):  # the same as an ordinary ball of that signal's own radius
        radius = threat.eps * float(torch.linalg.vector_norm(x[i]))
        ball = L2(radius, low=-1.0, high=1.0)
        assert torch.allclose(ball.project(wish[i : i + 1], x[i : i + 1]), once[i : i + 1], atol=1e-12)


def test_random_points_are_inside_and_belong_to_the_sample() -> None:
    x, threat = signals(dtype=torch.float32), Loudness.at(25)
    points = threat.sample(x, seed=3)
    assert bool(threat.contains(points, x).all())
    assert bool((points != x).any())
    assert torch.equal(threat.sample(x[2:3], seed=3), points[2:3])


@pytest.mark.parametrize("db", [40.0, 20.0])
def test_pgd_reaches_the_optimum_of_a_linear_model(db: float) -> None:
    """On a linear model the best change is the gradient's direction at full length: each margin grows by radius times |w|."""
    x = signals(dtype=torch.float64) * 0.5
    weight = torch.randn(60, 2, generator=generator(5), dtype=torch.float64)
    y, w = torch.zeros(4, dtype=torch.int64), weight[:, 1] - weight[:, 0]

    def model(z: torch.Tensor) -> torch.Tensor:
        return z.flatten(1) @ weight - torch.tensor([0.0, 1e6], dtype=z.dtype)

    result = pgd(model, x, y, Loudness.at(db), steps=8, loss="margin", random_start=False, stop_early=False)
    gained = (result.x_adv - x).flatten(1) @ w
    radius = 10 ** (-db / 20) * torch.linalg.vector_norm(x.flatten(1), dim=1)
    assert torch.allclose(gained, radius * torch.linalg.vector_norm(w), rtol=1e-6)
    assert torch.allclose(result.distance, torch.full_like(result.distance, 10 ** (-db / 20)), rtol=1e-6)


def test_silence_has_no_room() -> None:
    x, threat = torch.zeros(2, 1, 9), Loudness.at(10)
    assert torch.equal(threat.project(x + 0.1, x), x)
    assert threat.contains(x + 0.1, x).tolist() == [False, False]
    assert threat.contains(x, x).tolist() == [True, True]
    assert torch.equal(threat.sample(x), x)


def test_decibels_and_levels_agree() -> None:
    assert Loudness.at(20).eps == pytest.approx(0.1)
    assert Loudness(0.1).db == pytest.approx(20)
    assert "30 dB" in str(Loudness.at(30))
    with pytest.raises(ValueError, match="db must be"):
        Loudness.at(math.nan)
    with pytest.raises(ValueError, match="no budget"):
        Loudness().sample(signals())


def test_white_noise_has_the_level_it_says() -> None:
    x = signals() * 0.5
    noisy = white_noise(x, 12.0, seed=1)
    assert torch.allclose(snr(noisy, x), torch.full((4,), 12.0, dtype=torch.float64), atol=1e-9)
    assert torch.equal(white_noise(x[1:2], 12.0, seed=1), noisy[1:2])


def test_a_step_is_relative_to_the_signal() -> None:
    x, threat = signals(), Loudness.at(0)
    moved = threat.region(x).step_(x.clone(), torch.ones_like(x), 0.05)
    assert torch.allclose(threat.distance(moved, x), torch.full((4,), 0.05, dtype=torch.float64)), "a loud sound takes a longer step"
