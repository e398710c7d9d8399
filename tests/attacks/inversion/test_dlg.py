"""Deep leakage: images come back from the gradient of a small sigmoid network, and the score finds the order."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from labkit.attacks.inversion import deep_leakage, noised, psnr, shared_gradient
from labkit.attacks.inversion.dlg import LeakResult, _mismatch
from labkit.models.layers import seeded
from labkit.rates import Rate
from labkit.seeding import generator


@seeded
def small() -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, stride=2), nn.Sigmoid(), nn.Flatten(), nn.Linear(8 * 9, 4))
    for parameter in network.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5)
    return network.double()


def batch(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(count, 1, 6, 6, generator=generator(count, "batch"), dtype=torch.float64), torch.arange(count) % 4


def test_one_image_comes_back() -> None:
    x, y = batch(1)
    gradient = shared_gradient(small(seed=0), x, y)
    found = deep_leakage(small(seed=0), gradient, tuple(x.shape), labels=y, steps=20).scored(x, y)
    assert float(found.psnr) > 60
    assert found.metrics["recovered"] == Rate(1, 1, "images")
    assert found.gradients >= found.iterations >= 1


def test_labels_are_searched_along() -> None:
    x, y = batch(1)
    found = deep_leakage(small(seed=1), shared_gradient(small(seed=1), x, y + 2), tuple(x.shape), steps=30).scored(x, y + 2)
    assert found.labels.tolist() == [2]
    assert found.metrics["labels"] == Rate(1, 1, "labels")


def test_a_direction_alone_suffices() -> None:
    x, y = batch(1)
    gradient = tuple(0.1 * part for part in shared_gradient(small(seed=0), x, y))
    by_angle = deep_leakage(small(seed=0), gradient, tuple(x.shape), labels=y, steps=40, match="cosine").scored(x, y)
    by_length = deep_leakage(small(seed=0), gradient, tuple(x.shape), labels=y, steps=40).scored(x, y)
    assert float(by_angle.psnr) > 30 > float(by_length.psnr)


def test_more_beginnings_never_do_worse() -> None:
    x, y = batch(1)
    gradient = shared_gradient(small(seed=2), x, y)
    one, three = (deep_leakage(small(seed=2), gradient, tuple(x.shape), labels=y, steps=1, inner=3, starts=n) for n in (1, 3))
    assert three.mismatch <= one.mismatch
    assert three.gradients > one.gradients
    easy = deep_leakage(small(seed=0), shared_gradient(small(seed=0), x, y), tuple(x.shape), labels=y, steps=20, starts=50)
    assert easy.mismatch < 1e-10
    assert easy.gradients < 20 * 20 * 5  # the first that succeeds is the last


def test_a_small_mismatch_ends_the_beginnings_only_if_it_is_called_enough() -> None:
    x, y = batch(1)
    gradient = shared_gradient(small(seed=0), x, y)
    options = {"labels": y, "steps": 2, "inner": 5, "starts": 3}
    content, never = (deep_leakage(small(seed=0), gradient, tuple(x.shape), enough=e, **options) for e in (1.0, 0.0))  # type: ignore[arg-type]
    assert content.iterations < never.iterations == 6
    with pytest.raises(ValueError, match=r"must be 0 or more, got -1"):
        deep_leakage(small(seed=0), gradient, tuple(x.shape), enough=-1.0)


def test_no_tolerance_ends_the_search_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the mismatch is flat (trained networks, batches), L-BFGS would by default stop at slopes of 1e-7, far from the pictures."""
    given: list[dict[str, float]] = []

    class Spy(torch.optim.LBFGS):
        def __init__(self, *args: Any, **options: Any) -> None:
            given.append(options)
            super().__init__(*args, **options)

    monkeypatch.setattr(torch.optim, "LBFGS", Spy)
    x, y = batch(1)
    deep_leakage(small(seed=0), shared_gradient(small(seed=0), x, y), tuple(x.shape), labels=y, steps=1)
    assert given[0]["tolerance_grad"] == given[0]["tolerance_change"] == 0


def test_noise_on_the_gradient_spoils_the_image() -> None:
    x, y = batch(1)
    gradient = shared_gradient(small(seed=0), x, y)
    spoiled = [
        float(deep_leakage(small(seed=0), noised(gradient, s), tuple(x.shape), labels=y, steps=10).scored(x, y).psnr) for s in (1e-4, 1e-1)
    ]
    assert spoiled[0] > spoiled[1] + 15


def test_two_images_come_back_in_whatever_order() -> None:
    x, y = batch(2)
    found = deep_leakage(small(seed=0), shared_gradient(small(seed=0), x, y), tuple(x.shape), labels=y, steps=60)
    assert float(found.scored(x, y).psnr.min()) > 25
    swapped = LeakResult(x.flip(0), y.flip(0), 0.0, 1, 1).scored(x, y)
    assert bool(swapped.psnr.isinf().all())
    assert torch.equal(swapped.x, x)
    assert bool(swapped.right_labels.all())
    assert torch.equal(swapped.labels, y)


def test_the_mismatch_is_relative_to_what_was_seen() -> None:
    seen = (torch.tensor([3.0, 0.0]), torch.tensor([[4.0]]))
    nothing, double = tuple(0 * part for part in seen), tuple(2 * part for part in seen)
    for scale in (1.0, 1e-3):
        small_one = tuple(scale * part for part in seen)
        assert float(_mismatch(nothing, small_one, "l2")) == pytest.approx(1.0)
    assert float(_mismatch(double, seen, "l2")) == pytest.approx(1.0)
    assert float(_mismatch(double, seen, "cosine")) == pytest.approx(0.0, abs=1e-6)


def test_psnr_is_decibels() -> None:
    x = torch.full((2, 1, 2, 2), 0.5)
    assert psnr(x, x + 0.1).tolist() == pytest.approx([20.0, 20.0], abs=1e-4)
    assert psnr(x, x).tolist() == [math.inf] * 2
    with pytest.raises(ValueError, match="equal shapes"):
        psnr(x, x[:1])


def test_the_models_own_gradients_are_left_alone_and_wrong_ones_refused() -> None:
    x, y = batch(1)
    model = small(seed=0)
    deep_leakage(model, shared_gradient(model, x, y), tuple(x.shape), steps=1)
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ValueError, match="3 parts are not those of the model's 4"):
        deep_leakage(model, shared_gradient(model, x, y)[:-1], tuple(x.shape))
    with pytest.raises(ValueError, match="got 'l1'"):
        deep_leakage(model, shared_gradient(model, x, y), tuple(x.shape), match="l1")  # type: ignore[arg-type]
