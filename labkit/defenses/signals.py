"""Fixes before a reader of signals (B, C, T), as layers: filter, requantize, thin out as a codec does, or add noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labkit.attacks.bpda import NonDifferentiable
from labkit.attacks.eot import Randomized


class Lowpass(nn.Module):
    """Keeps frequencies up to ``cutoff`` (Hz) and lets them fade out over the next ``fade`` hertz. Linear, so its gradient is exact.

    The signal is mirrored at its ends before the Fourier transform, so that the two ends do not leak into each other.
    """

    def __init__(self, cutoff: float, rate: float, fade: float | None = None) -> None:
        super().__init__()
        if not 0 < cutoff <= rate / 2:
            raise ValueError(f"cutoff must lie between 0 and half the rate, {rate / 2:g} Hz; got {cutoff:g}")
        self.cutoff, self.rate, self.fade = cutoff, rate, cutoff / 4 if fade is None else fade

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[-1]
        mirrored = torch.cat([x, x.flip(-1)], -1)
        frequency = torch.fft.rfftfreq(2 * count, 1 / self.rate).to(x)
        gain = ((self.cutoff + self.fade - frequency) / max(self.fade, 1e-9)).clamp(0, 1)
        filtered: Tensor = torch.fft.irfft(torch.fft.rfft(mirrored) * gain, n=2 * count)[..., :count]
        return filtered

    def extra_repr(self) -> str:
        return f"cutoff={self.cutoff:g}, rate={self.rate:g}"


class Quantize(NonDifferentiable, nn.Module):
    """Rounds to ``2 ** bits`` levels between ``low`` and ``high``; its own gradient is zero, so ``bpda`` passes it by."""

    def __init__(self, bits: int, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        if bits < 1:
            raise ValueError(f"bits must be 1 or more, got {bits}")
        self.bits, self.low, self.high = bits, low, high

    def forward(self, x: Tensor) -> Tensor:
        steps = 2**self.bits - 1
        levels: Tensor = ((x - self.low) / (self.high - self.low) * steps).round()
        rounded: Tensor = levels / steps * (self.high - self.low) + self.low
        return rounded

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


class DropQuiet(NonDifferentiable, nn.Module):
    """What a lossy codec does, in miniature: in each frame, frequencies ``db`` decibels below the frame's loudest are dropped.

    Frames of ``window`` samples overlap by half, with sine windows that add up to one. The choice of what to drop jumps, and
    ``bpda`` passes the layer by as if it did nothing. That is a weak stand-in: the layer's own gradient, which takes the choice as given,
    sees what is dropped and is often the better guide. An honest attack tries both.
    """

    taper: Tensor

    def __init__(self, db: float = 20.0, window: int = 256) -> None:
        super().__init__()
        self.db, self.window = db, window
        self.register_buffer("taper", torch.sin(torch.pi * (torch.arange(window) + 0.5) / window))

    def forward(self, x: Tensor) -> Tensor:
        hop, count = self.window // 2, x.shape[-1]
        after = hop + (-count) % hop
        flat = nn.functional.pad(x.flatten(0, 1), (hop, after))
        frames = flat.unfold(1, self.window, hop) * self.taper
        heard = torch.fft.rfft(frames)
        size = heard.abs()
        kept = torch.fft.irfft(heard * (size >= size.amax(-1, keepdim=True) * 10 ** (-self.db / 20)), n=self.window) * self.taper
        whole = nn.functional.fold(kept.transpose(1, 2), (1, flat.shape[1]), (1, self.window), stride=(1, hop))
        shorter: Tensor = whole.flatten(1)[:, hop : hop + count]
        return shorter.reshape(x.shape)

    def extra_repr(self) -> str:
        return f"db={self.db:g}, window={self.window}"


class Hiss(Randomized, nn.Module):
    """Adds white noise ``db`` decibels below the signal, drawn anew for every question; ``eot`` averages over it."""

    def __init__(self, db: float) -> None:
        super().__init__()
        self.db = db

    def forward(self, x: Tensor) -> Tensor:
        noise = self.normal(x)
        length = torch.linalg.vector_norm(x.detach().flatten(1), dim=1) / x.shape[1:].numel() ** 0.5
        hissing: Tensor = x + noise * (length * 10 ** (-self.db / 20)).view(-1, *[1] * (x.ndim - 1))
        return hissing

    def extra_repr(self) -> str:
        return f"db={self.db:g}"


__all__ = ["DropQuiet", "Hiss", "Lowpass", "Quantize"]
