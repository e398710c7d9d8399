from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.attacks.evasion import pgd
from labkit.attacks.evasion.smooth import KERNELS, smooth_pgd, smoothed
from labkit.seeding import generator
from labkit.threats import Linf


def signals() -> torch.Tensor:
    return 0.3 + 0.4 * torch.rand(4, 1, 60, generator=generator(1), dtype=torch.float64)


def linear() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(60, 2)).double()
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(2, 60, generator=generator(2), dtype=torch.float64))
        net[1].bias.copy_(torch.tensor([50.0, 0.0]))  # nothing is turned: the whole climb is seen
    return net


def test_smoothing_is_its_own_transpose_and_never_louder() -> None:
    a, b = torch.randn(2, 2, 1, 60, generator=generator(3), dtype=torch.float64)
    assert torch.allclose((smoothed(a) * b).sum(), (a * smoothed(b)).sum())
    assert float(smoothed(torch.ones(1, 1, 60)).max()) <= 1 + 1e-6
    assert float(smoothed(torch.ones(1, 1, 60, dtype=torch.float64))[0, 0, 30]) == pytest.approx(1)
    with pytest.raises(ValueError, match="its size must be odd, got 4"):
        smoothed(a, ((4, 1.0),))


def test_on_a_linear_model_the_best_smooth_change_is_known() -> None:
    """The gain of theta is <smoothed(w), theta>: with theta in a box the best is the sign of smoothed(w), all of eps."""
    x, net, eps = signals(), linear(), 0.05
    w = (net[1].weight[1] - net[1].weight[0]).detach().view(1, 1, 60)
    result = smooth_pgd(net, x, torch.zeros(4, dtype=torch.int64), Linf(eps), steps=10, loss="margin")
    best = eps * smoothed(w).abs().sum()
    gained = ((result.x_adv - x) * w).flatten(1).sum(1)
    assert torch.allclose(gained, best.expand(4), rtol=1e-9)
    rough = pgd(net, x, torch.zeros(4, dtype=torch.int64), Linf(eps), steps=10, loss="margin")
    assert float((((rough.x_adv - x) * w).flatten(1).sum(1) - gained).min()) > 0, "freedom to be rough pays"
    assert bool(result.threat.contains(result.x_adv, x).all())


def test_the_change_does_not_jump() -> None:
    x, net = signals(), linear()
    y = torch.zeros(4, dtype=torch.int64)
    jumps = [float((attack(net, x, y, Linf(0.05), steps=10).x_adv - x).diff(dim=2).abs().max()) for attack in (pgd, smooth_pgd)]
    assert jumps[1] < 0.5 * jumps[0]
    assert len(KERNELS) == 5


def test_bad_input_is_explained() -> None:
    with pytest.raises(ValueError, match=r"signals \(B, C, T\), got inputs of shape \(4, 60\)"):
        smooth_pgd(linear(), signals().flatten(1), torch.zeros(4, dtype=torch.int64), Linf(0.1))
    with pytest.raises(ValueError, match="steps must be 1 or more, got 0"):
        smooth_pgd(linear(), signals(), torch.zeros(4, dtype=torch.int64), Linf(0.1), steps=0)
