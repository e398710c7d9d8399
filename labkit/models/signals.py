"""Readers of signals: a network on the spectrogram of a sound, and a convolution in one dimension for a sensor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labkit.models.layers import seeded


class Spectrogram(nn.Module):
    """The logarithm of a sound's short-time power, as a layer: (B, 1, T) -> (B, 1, window / 2 + 1, frames); attacks see the waveform.

    ``floor``: power below it counts as silence, which also keeps the gradient finite there.
    """

    taper: Tensor

    def __init__(self, window: int = 128, hop: int = 64, floor: float = 1e-3) -> None:
        super().__init__()
        self.window, self.hop, self.floor = window, hop, floor
        self.register_buffer("taper", torch.hann_window(window))

    def forward(self, x: Tensor) -> Tensor:
        frames = x.squeeze(1).unfold(1, self.window, self.hop) * self.taper
        transformed = torch.fft.rfft(frames, dim=2)
        power = transformed.real.square() + transformed.imag.square()
        loud: Tensor = (power + self.floor).log()
        return loud.transpose(1, 2)[:, None]

    def extra_repr(self) -> str:
        return f"window={self.window}, hop={self.hop}, floor={self.floor}"


@seeded
def sound_convnet(classes: int = 10, width: int = 12, window: int = 128, hop: int = 64) -> nn.Sequential:
    """Return a reader of spoken words: spectrogram, three blocks of convolution, an average over time and pitch; (B, 1, T) -> logits.

    Sounds of any length from some thousand samples on.
    """
    blocks: list[nn.Module] = [Spectrogram(window, hop), nn.BatchNorm2d(1)]
    channels = 1
    for out in (width, 2 * width, 4 * width):
        blocks += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
        channels = out
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten(), nn.Linear(16 * channels, classes))


@seeded
def signal_convnet(classes: int, channels: int = 1, width: int = 16, kernel: int = 7) -> nn.Sequential:
    """Return a reader of sensor signals: three blocks of convolution in one dimension; (B, channels, T) -> (B, classes)."""
    blocks: list[nn.Module] = []
    for out in (width, 2 * width, 2 * width):
        blocks += [nn.Conv1d(channels, out, kernel, padding=kernel // 2, bias=False), nn.BatchNorm1d(out), nn.ReLU(), nn.MaxPool1d(2)]
        channels = out
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool1d(8), nn.Flatten(), nn.Linear(8 * channels, classes))


__all__ = ["Spectrogram", "signal_convnet", "sound_convnet"]
