"""``Loudness``: a change of a signal, limited relative to that signal: so many decibels below it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.seeding import normal_for, sample_keys
from labkit.threats.balls import L2, Region


def snr(x_adv: Tensor, x: Tensor) -> Tensor:
    """Return the signal-to-noise ratio in decibels, ``10 log10(sum x^2 / sum (x_adv - x)^2)``, (B,) float64.

    inf where nothing changed, -inf where a silent signal did.
    """
    noise = torch.linalg.vector_norm((x_adv.double() - x.double()).flatten(1), dim=1)
    signal = torch.linalg.vector_norm(x.double().flatten(1), dim=1)
    return torch.where(noise == 0, torch.inf, 20 * torch.log10(signal / noise))


def peak_db(x_adv: Tensor, x: Tensor) -> Tensor:
    """Return how loud the change's peak is beside the signal's, ``20 log10(max|x_adv - x| / max|x|)``, (B,) float64 decibels.

    Negative where the change is quieter, which is what Carlini and Wagner 2018 (arXiv 1801.01944) call distortion; -inf for no change.
    """
    noise = (x_adv.double() - x.double()).abs().flatten(1).amax(1)
    signal = x.double().abs().flatten(1).amax(1)
    return torch.where(noise == 0, -torch.inf, 20 * torch.log10(noise / signal))


def white_noise(x: Tensor, db: float, *, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Return x (B, ...) with white noise ``db`` decibels below it, the baseline of every attack on sound.

    The level is exact before the clip to [low, high]. The draw depends on the sample's own values and ``seed``.
    """
    noise = normal_for(sample_keys(x, seed), tuple(x.shape[1:]), "white noise").to(x)
    unit = noise / torch.linalg.vector_norm(noise.flatten(1), dim=1).view(-1, *[1] * (x.ndim - 1))
    length = torch.linalg.vector_norm(x.flatten(1), dim=1).view(-1, *[1] * (x.ndim - 1))
    noisy: Tensor = x + unit * length * 10 ** (-db / 20)
    return noisy.clamp(low, high)


@dataclass(frozen=True)
class Loudness(L2):
    """The change's Euclidean length is at most ``eps`` times the signal's own, inside the box; ``Loudness.at(30)`` says it in decibels.

    ``distance`` and ``eps`` are relative to the signal, and so are step sizes. A silent signal has no room at all. Only attacks with a
    budget know it: for the smallest change use ``L2()`` and ``snr``.
    """

    eps: float = math.inf
    low: float = -1.0
    high: float = 1.0

    @classmethod
    def at(cls, db: float, low: float = -1.0, high: float = 1.0) -> Loudness:
        """Return the threat of a signal-to-noise ratio of ``db`` decibels or more. Raises ValueError for nan."""
        if math.isnan(db):
            raise ValueError(f"db must be a number of decibels, got {db}")
        return cls(10 ** (-db / 20), low, high)

    @property
    def db(self) -> float:
        """The smallest signal-to-noise ratio allowed, in decibels."""
        return math.inf if self.eps == 0 else -20 * math.log10(self.eps)

    def __str__(self) -> str:
        return "Loudness(no budget)" if math.isinf(self.eps) else f"Loudness({self.db:.4g} dB below the signal)"

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return each change's length over its signal's, (B,) float64: 0 for no change, inf for a silent signal that changed."""
        change = super().distance(x_adv, x)
        return torch.where(change == 0, 0, change / _lengths(x))

    def region(self, x: Tensor) -> Region:
        """Return this ball fixed around the signals ``x`` (B, ...), each with a radius of its own."""
        return _Around(self, x)


def _lengths(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x.double().flatten(1), dim=1)
    return length


class _Around(Region):
    """Signals with their lengths: a radius for each, and steps and noise in the same unit."""

    def __init__(self, ball: Loudness, x: Tensor, lower: Tensor | None = None, upper: Tensor | None = None) -> None:
        super().__init__(ball, x, lower, upper)
        self._length = _lengths(x).to(x.dtype).view(-1, *[1] * (x.ndim - 1))

    def take(self, index: Tensor) -> Region:
        """Return the region of some of the signals."""
        assert isinstance(self.ball, Loudness)
        return _Around(self.ball, self.x[index], self.lower[index], self.upper[index])

    def step_(self, x_adv: Tensor, grad: Tensor, size: float | Tensor) -> Tensor:
        """Move ``x_adv`` by ``size`` times the signal's length along the gradient, and project."""
        return super().step_(x_adv, grad, size * self._length)

    def project_(self, x_adv: Tensor) -> Tensor:
        """Project ``x_adv`` in place: scale what is too loud, clip to the box."""
        if math.isinf(self.ball.eps):
            return torch.clamp(x_adv, self.lower, self.upper, out=x_adv)
        delta, radius = x_adv - self.x, (self.ball.eps * self._length).flatten(1)
        norm = torch.linalg.vector_norm(delta.flatten(1), dim=1, keepdim=True)
        factor = torch.where(norm > radius, radius / norm.clamp_min(1e-30), 1).view_as(self._length)
        return torch.clamp(self.x + delta * factor, self.lower, self.upper, out=x_adv)

    def settle_(self, x_adv: Tensor) -> Tensor:
        """Pull what rounding left outside exactly inside, in place; a silent signal goes back to silence."""
        silent = (self._length == 0).flatten()
        if bool(silent.any()):
            x_adv[silent] = self.x[silent]
        return super().settle_(x_adv)

    def sample(self, keys: list[int], stream: str | int = 0) -> Tensor:
        """Return one random allowed point for each signal, given its key."""
        if math.isinf(self.ball.eps):
            raise ValueError(f"{self.ball} has no budget to draw a random point from; use Loudness.at(decibels)")
        noise = self.ball._noise(keys, self.x.shape, stream).to(self.x.device, self.x.dtype).reshape(self.x.shape)
        if self.ball.mask is not None:
            noise = noise * self.ball.mask.to(noise.device, noise.dtype)
        x_adv = self.x + noise * self.ball.eps * self._length
        return self.settle_(torch.clamp(x_adv, self.lower, self.upper, out=x_adv))


__all__ = ["Loudness", "peak_db", "snr", "white_noise"]
