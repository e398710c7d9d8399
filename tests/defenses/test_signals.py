from __future__ import annotations

import pytest
import torch

from labkit.attacks import bpda, eot
from labkit.defenses.signals import DropQuiet, Hiss, Lowpass, Quantize
from labkit.seeding import generator
from labkit.threats.loudness import snr


def tone(hertz: float, rate: float = 200.0, count: int = 200) -> torch.Tensor:
    return torch.cos(2 * torch.pi * hertz * (torch.arange(count, dtype=torch.float64) + 0.5) / rate)[None, None]


def test_a_low_pass_keeps_low_tones_and_loses_high_ones() -> None:
    layer = Lowpass(20, 200, fade=5)
    assert torch.allclose(layer(tone(10)), tone(10), atol=1e-9)
    assert float(layer(tone(40)).abs().max()) < 1e-9
    x, z = torch.randn(2, 1, 3, 64, generator=generator(1), dtype=torch.float64)
    assert torch.allclose(layer(2 * x[None] - z[None]), 2 * layer(x[None]) - layer(z[None])), "linear"
    with pytest.raises(ValueError, match="cutoff must lie between 0 and half the rate, 100 Hz; got 120"):
        Lowpass(120, 200)


def test_a_hard_low_pass_twice_is_once() -> None:
    x, layer = torch.randn(2, 1, 90, generator=generator(2), dtype=torch.float64), Lowpass(30, 200, fade=0)
    assert torch.allclose(layer(layer(x)), layer(x), atol=1e-9)


def test_quantizing_has_its_levels_and_no_gradient_but_bpda_has() -> None:
    x, layer = torch.linspace(-1, 1, 101)[None, None], Quantize(3)
    assert len(layer(x).unique()) == 8
    assert float((layer(x) - x).abs().max()) <= 1 / 7 + 1e-6
    assert torch.equal(layer(layer(x)), layer(x))
    net = torch.nn.Sequential(layer, torch.nn.Flatten(), torch.nn.Linear(101, 2))
    leaf = x.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(bpda(net)(leaf)[:, 0].sum(), leaf)
    assert torch.allclose(grad.flatten(), net[2].weight[0])
    with pytest.raises(ValueError, match="bits must be 1 or more, got 0"):
        Quantize(0)


@pytest.mark.parametrize("count", [300, 256, 129])
def test_dropping_nothing_changes_nothing(count: int) -> None:
    x = torch.randn(2, 1, count, generator=generator(3), dtype=torch.float64)
    layer = DropQuiet(db=1000, window=64).double()
    assert torch.allclose(layer(x), x, atol=1e-9), "overlapping frames add up to the signal"


def test_what_is_quiet_beside_the_loud_is_dropped() -> None:
    loud, quiet = tone(10, count=256), 0.001 * tone(60, count=256)
    layer = DropQuiet(db=30, window=64).double()
    left = layer(loud + quiet) - layer(loud)
    assert float(left[..., 64:-64].abs().max()) < 1e-5, "a thousandth was added; at the ends a frame is half empty"
    assert float((layer(loud) - loud)[..., 64:-64].abs().max()) < 0.05


def test_the_codecs_own_gradient_sees_what_is_dropped_and_bpdas_does_not() -> None:
    x = (tone(10, count=256) + 0.001 * tone(60, count=256)).requires_grad_(True)
    layer, quiet = DropQuiet(db=30, window=64).double(), tone(60, count=256)
    (own,) = torch.autograd.grad((layer(x) * quiet)[..., 64:-64].sum(), x)
    (passed,) = torch.autograd.grad((bpda(layer)(x) * quiet)[..., 64:-64].sum(), x)
    inner = own[..., 96:-96].norm() / passed[..., 96:-96].norm()
    assert torch.allclose(passed[..., 64:-64], quiet[..., 64:-64]), "the identity"
    assert float(inner) < 0.05, "moving what is dropped anyway changes nothing"


def test_hiss_has_its_level_and_eot_fixes_its_draws() -> None:
    x, layer = 0.1 * torch.randn(3, 1, 4000, generator=generator(4)), Hiss(20)
    assert float((snr(layer(x), x) - 20).abs().max()) < 0.5
    assert not torch.equal(layer(x), layer(x))
    view = eot(torch.nn.Sequential(layer, torch.nn.Flatten()), samples=2)
    assert torch.equal(view(x), view(x))
    assert torch.equal(view(x)[1:2], view(x[1:2]))
