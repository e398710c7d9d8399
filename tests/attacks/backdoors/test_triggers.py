"""Triggers: exactly the pixels that are named, nothing else, always in the box."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.attacks.backdoors import Blend, Pixels, Sinusoid, Square, Trigger

ALL: list[Trigger] = [Square(2, -3, -3), Square(1, 0, 0, opacity=0.5), Pixels(((-2, -2), (0, 3))), Blend(0.2), Sinusoid(0.2, 2.0)]


def images(seed: int = 0, channels: int = 3) -> torch.Tensor:
    return torch.rand(4, channels, 6, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("trigger", ALL, ids=lambda t: type(t).__name__)
@given(seed=st.integers(0, 1000), channels=st.sampled_from([1, 3]))
@settings(max_examples=8, deadline=None)
def test_every_trigger_keeps_shape_box_input_and_batch(trigger: Trigger, seed: int, channels: int) -> None:
    x = images(seed, channels)
    before = x.clone()
    out = trigger(x)
    assert torch.equal(x, before)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert not torch.equal(out, x)
    assert torch.equal(out[2:3], trigger(x[2:3]))  # alone as in a batch
    assert torch.equal(out, trigger.apply(x))


def test_a_square_changes_its_own_pixels_and_no_other() -> None:
    x = images()
    out = Square(2, -3, 1, color=(1.0, 0.5, 0.0))(x)
    expected = x.clone()
    expected[:, :, 3:5, 1:3] = torch.tensor([1.0, 0.5, 0.0], dtype=x.dtype).view(3, 1, 1)
    assert torch.equal(out, expected)


def test_opacity_mixes_in_proportion() -> None:
    x = images()
    out = Square(6, 0, 0, opacity=0.25)(x)
    assert torch.allclose(out[..., :6], 0.75 * x[..., :6] + 0.25)
    assert torch.equal(out[..., 6:], x[..., 6:])
    pattern = torch.rand(3, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(Blend(0.3, picture=pattern)(x), 0.7 * x + 0.3 * pattern)


def test_pixels_count_from_both_edges() -> None:
    x = images(channels=1)
    out = Pixels(((-1, -1), (0, 2)), color=1.0)(x)
    assert set(map(tuple, (out != x).any(0).nonzero()[:, 1:].tolist())) == {(5, 6), (0, 2)}
    assert bool((out[:, 0, 5, 6] == 1).all())
    assert bool((out[:, 0, 0, 2] == 1).all())


def test_the_wave_is_the_papers() -> None:
    x = torch.full((1, 1, 3, 8), 0.5, dtype=torch.float64)
    out = Sinusoid(0.1, 2.0)(x)
    for j in range(8):
        assert float(out[0, 0, 1, j]) == pytest.approx(0.5 + 0.1 * math.sin(2 * math.pi * 2 * j / 8))
    assert torch.equal(Sinusoid(0.6, 2.0)(x).clamp(0, 1), Sinusoid(0.6, 2.0)(x))


def test_noise_belongs_to_the_seed_and_leaves_the_global_state() -> None:
    x = images()
    state = torch.get_rng_state()
    assert torch.equal(Blend(0.2, seed=1)(x), Blend(0.2, seed=1)(x))
    assert not torch.equal(Blend(0.2, seed=1)(x), Blend(0.2, seed=2)(x))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Square(0), "1 pixel or more, got 0"),
        (lambda: Square(2, opacity=0.0), "no trigger"),
        (lambda: Square(2, color=255.0), "divide by 255"),
        (lambda: Pixels(()), "without pixels"),
        (lambda: Blend(1.5), "opacity must lie"),
        (lambda: Sinusoid(0.0), "strength must lie"),
        (lambda: Square(5, -3, 0)(images()), "does not fit 6 x 7"),
        (lambda: Square(1, -9, 0)(images()), "does not fit 6 x 7"),
        (lambda: Pixels(((6, 0),))(images()), r"pixel \(6, 0\) lies outside 6 x 7"),
        (lambda: Square(2, color=(1.0, 0.0))(images()), "2 values, the images have 3"),
        (lambda: Blend(0.1, picture=torch.zeros(3, 5, 5))(images()), "the images"),
        (lambda: Square(2)(images()[0]), "single image"),
        (lambda: Square(2)(images() * 255), "divide by 255"),
    ],
)
def test_bad_input_is_an_error_that_says_why(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]
