"""Collisions where the answer is known: linear features have a closed-form minimum; always downhill, always in the box."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labkit.attacks.poisoning import collide, feature_collision
from labkit.data.dataset import Split, WrongRole
from labkit.threats import L2, Linf

SOURCE = torch.Generator().manual_seed(0)


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 1, 3, 3, generator=SOURCE, dtype=torch.float64)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 12), nn.Tanh(), nn.Linear(12, 5)).double()


def test_linear_features_end_at_the_closed_form() -> None:
    """min |A (x - t)|^2 + beta |x - b|^2  is at  (A'A + beta I)^-1 (A'A t + beta b); far from the box's walls."""
    weight = 0.5 * torch.randn(4, 9, generator=SOURCE, dtype=torch.float64)
    base, target, beta = 0.4 + 0.2 * images(3), 0.4 + 0.2 * images(3), 0.3
    gram = weight.T @ weight
    right = target.flatten(1) @ gram + beta * base.flatten(1)
    expected = torch.linalg.solve(gram + beta * torch.eye(9, dtype=torch.float64), right.T).T
    x, _ = collide(lambda z: z.flatten(1) @ weight.T, base, target, beta=beta, steps=400, step_size=0.1)
    assert torch.allclose(x.flatten(1), expected, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 1), st.floats(1e-3, 10), st.floats(0, 0.5), st.sampled_from([Linf(), Linf(0.1), L2(0.3)]))
def test_downhill_from_wherever_and_inside_the_threat(beta: float, step: float, opacity: float, threat: Linf | L2) -> None:
    features, base, target = net(), images(4), images(4)
    x, trace = collide(features, base, target, beta=beta, steps=15, step_size=step, opacity=opacity, threat=threat)
    assert bool((trace["objective"].diff(dim=0) <= 1e-12).all())
    assert trace["features"].shape == (16, 4)
    assert bool(threat.contains(x, base).all())
    with torch.no_grad():
        gap = (features(x) - features(target)).norm(dim=1)
    assert torch.allclose(gap, trace["features"][-1], atol=1e-9)


def test_features_come_closer_and_beta_holds_the_image_back() -> None:
    features, base, target = net(), images(6), images(6)
    free, trace = collide(features, base, target, beta=0.0, steps=200, step_size=0.05)
    assert bool((trace["features"][-1] < 0.2 * trace["features"][0]).all())
    held, _ = collide(features, base, target, beta=5.0, steps=200, step_size=0.05)
    assert bool(((held - base).flatten(1).norm(dim=1) < (free - base).flatten(1).norm(dim=1)).all())


def test_an_image_does_not_depend_on_its_neighbors() -> None:
    features, base, target = net(), images(3), images(3)
    together, _ = collide(features, base, target, steps=20)
    alone = torch.cat([collide(features, base[i : i + 1], target[i : i + 1], steps=20)[0] for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-9)


def test_labels_stay_true_and_the_opacity_starts_from_a_blend() -> None:
    clean = Split(images(10), torch.arange(10) % 2, "train", "toy")
    bases, target = clean.take(clean.y == 1).as_role("shadow"), images(1)[0]
    found = feature_collision(clean, bases, target, net(), steps=10, threat=Linf(0.2))
    assert found.rate.k == 5
    assert not bool(found.changed_y.any())
    assert bool((found.data.y[found.poisoned] == 1).all())
    assert bool(found.changed_x[10:].all())
    assert found.threat == Linf(0.2)
    assert found.costs["backwards"] == 55
    blended = feature_collision(clean, bases, target, net(), steps=0, opacity=0.3)
    assert torch.allclose(blended.data.x[10:], 0.7 * bases.x + 0.3 * target)
    assert torch.equal(blended.original_x[10:], bases.x)


def test_bad_input_is_named() -> None:
    base = images(2)
    with pytest.raises(ValueError, match="one target per base"):
        collide(net(), base, base[:1])
    for options in ({"beta": -1.0}, {"opacity": 1.0}, {"step_size": 0.0}, {"steps": -1}):
        with pytest.raises(ValueError, match="opacity is 0 to below 1"):
            collide(net(), base, base, **options)  # type: ignore[arg-type]
    clean = Split(images(4), torch.zeros(4, dtype=torch.int64), "train", "toy")
    with pytest.raises(ValueError, match=r"one input of shape \(1, 3, 3\), got \(2, 1, 3, 3\)"):
        feature_collision(clean, clean, base, net())
    with pytest.raises(WrongRole):
        feature_collision(clean.as_role("test"), clean, base[0], net())
