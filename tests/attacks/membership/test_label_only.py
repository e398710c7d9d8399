from __future__ import annotations

import pytest
import torch

from labkit.attacks.membership import noise_margin
from labkit.endpoint import Endpoint
from labkit.models.networks import linear


def line(x):
    """Class 1 right of x0 = 0.5: the distance to the boundary is |x0 - 0.5|."""
    return torch.stack([torch.zeros(len(x)), x[:, 0] - 0.5], dim=1)


def test_on_a_straight_boundary_it_is_the_distance():
    x = torch.tensor([[0.5, 0.2], [0.55, 0.1], [0.6, 0.9], [0.42, 0.3]])
    y = torch.tensor([1, 1, 1, 1])
    wide = (-100.0, 100.0)  # no clamping
    found = noise_margin(lambda z: line(z).argmax(1), x, y, sigma=0.1, copies=4000, bounds=wide)
    assert found.tolist() == pytest.approx([0.0, 0.5, 1.0, -0.8], abs=0.08)


def test_it_asks_a_service_for_labels_only():
    service = Endpoint(linear(4, 3), answers="labels")
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
    found = noise_margin(service, x, torch.zeros(5, dtype=torch.int64), sigma=0.2, copies=7)
    assert service.queries == 35
    assert found.shape == (5,)
    assert bool(found.isfinite().all())


def test_several_models_hear_the_same_noise():
    models = [linear(4, 3, seed=seed) for seed in (0, 1)]
    x, y = torch.rand(6, 4, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 3
    both = noise_margin(lambda z: torch.stack([model(z).argmax(1) for model in models]), x, y, sigma=0.3)
    for row, model in zip(both, models, strict=True):
        assert torch.equal(row, noise_margin(lambda z, model=model: model(z).argmax(1), x, y, sigma=0.3))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="sigma must be positive and copies 1 or more, got 0"):
        noise_margin(lambda z: z[:, 0], torch.zeros(1, 2), torch.zeros(1), sigma=0.0)
