"""A generator and its critic: shapes, bounds, labels, seeds."""

from __future__ import annotations

import pytest
import torch

from labkit.models import adversaries


def test_samples_have_the_shape_and_stay_in_bounds() -> None:
    pair = adversaries((1, 4, 4), noise=3, width=8)
    made = pair.sample(5)
    assert made.shape == (5, 1, 4, 4)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1
    assert pair(made).shape == (5,)


def test_without_bounds_samples_may_lie_anywhere() -> None:
    pair = adversaries((2,), noise=2, width=8, bounds=None)
    with torch.no_grad():
        pair.generator[-1].bias.fill_(50.0)
    assert float(pair.sample(4).min()) > 10


def test_a_sample_depends_on_its_seed_only() -> None:
    pair = adversaries(width=8)
    state = torch.random.get_rng_state()
    one, same, other = pair.sample(3, seed=1), pair.sample(3, seed=1), pair.sample(3, seed=2)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_class_reaches_both_players() -> None:
    pair = adversaries((2,), noise=2, classes=3, width=8)
    zeros, twos = torch.zeros(4, dtype=torch.int64), torch.full((4,), 2)
    assert not torch.equal(pair.sample(4, zeros), pair.sample(4, twos))
    x = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(pair(x, zeros), pair(x, twos))


def test_labels_missing_or_unwanted_are_named() -> None:
    with pytest.raises(ValueError, match="needs labels, one of 3 classes"):
        adversaries((2,), classes=3).sample(4)
    with pytest.raises(ValueError, match="built without classes"):
        adversaries((2,)).sample(4, torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("wrong", [{"noise": 0}, {"width": 0}, {"classes": -1}])
def test_impossible_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        adversaries((2,), **wrong)
