from __future__ import annotations

import torch

from labkit.models.signals import Spectrogram, signal_convnet, sound_convnet


def test_a_tone_is_a_line_in_the_spectrogram() -> None:
    time = torch.arange(4000, dtype=torch.float64) / 8000
    tone = 0.5 * torch.sin(2 * torch.pi * 1000 * time)[None, None]
    seen = Spectrogram()(tone)
    assert seen.shape == (1, 1, 65, 61)
    assert bool((seen[0, 0].argmax(0) == 16).all()), "1,000 Hz is line 16 of 62.5 Hz each"


def test_the_gradient_of_silence_is_finite() -> None:
    x = torch.zeros(2, 1, 1000, requires_grad=True)
    (grad,) = torch.autograd.grad(Spectrogram()(x).sum(), x)
    assert bool(grad.isfinite().all())


def test_readers_take_their_signals() -> None:
    assert sound_convnet(10, width=4)(torch.zeros(2, 1, 4000)).shape == (2, 10)
    assert sound_convnet(10, width=4)(torch.zeros(2, 1, 8000)).shape == (2, 10)
    assert signal_convnet(4, width=4)(torch.zeros(3, 1, 140)).shape == (3, 4)
    assert torch.equal(sound_convnet(seed=2)[2].weight, sound_convnet(seed=2)[2].weight)
