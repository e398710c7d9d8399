"""A generator and its adversary, in one module, so that they train, travel and are cached together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from labkit.models.layers import seeded
from labkit.seeding import generator as draws


class Adversaries(nn.Module):
    """A generator that turns noise into samples, and a critic that says how real a sample looks.

    ``shape``: of one sample. ``noise``: how many random numbers the generator gets. ``classes``: of a conditional pair, which is told the
    class of every sample (Mirza and Osindero 2014, arXiv 1411.1784); 0 for one that is not. ``width``: of the two hidden layers of each.
    ``bounds``: of the samples; None for values without limits.
    """

    def __init__(self, shape: tuple[int, ...], noise: int, classes: int, width: int, bounds: tuple[float, float] | None) -> None:
        super().__init__()
        if noise < 1 or width < 1 or classes < 0:
            raise ValueError(f"noise and width must be 1 or more and classes 0 or more, got {noise}, {width} and {classes}")
        self.shape, self.noise, self.classes, self.bounds = shape, noise, classes, bounds
        values = int(torch.Size(shape).numel())
        self.generator = nn.Sequential(
            nn.Linear(noise + classes, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, values)
        )
        self.critic = nn.Sequential(
            nn.Linear(values + classes, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1)
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return how real each x (B, ...) looks, as a logit (B,): above zero for "real"."""
        logit: Tensor = self.critic(self._told(x.flatten(1), y))
        return logit.squeeze(1)

    def generate(self, noise: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the samples (B, ...) of noise (B, noise), differentiable."""
        raw: Tensor = self.generator(self._told(noise, y))
        if self.bounds is not None:
            raw = self.bounds[0] + (self.bounds[1] - self.bounds[0]) * raw.sigmoid()
        return raw.reshape(len(raw), *self.shape)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, *, seed: int = 0) -> Tensor:
        """Return ``n`` samples (n, ...) drawn from ``seed``. Raises ValueError when labels ``y`` (n,) are missing or not wanted."""
        home = next(self.parameters())
        noise = torch.randn(n, self.noise, generator=draws(seed, "generated samples")).to(home)
        return self.generate(noise, None if y is None else y.to(home.device))

    def _told(self, inputs: Tensor, y: Tensor | None) -> Tensor:
        """Append the class as a one-hot code (B, classes)."""
        if (y is None) == bool(self.classes):
            wants = f"needs labels, one of {self.classes} classes for each sample" if self.classes else "was built without classes"
            raise ValueError(f"this pair {wants}; got {'none' if y is None else 'some'}")
        return inputs if y is None else torch.cat([inputs, one_hot(y, self.classes).to(inputs)], 1)


@seeded
def adversaries(
    shape: tuple[int, ...] = (1, 8, 8), noise: int = 16, classes: int = 0, width: int = 128, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> Adversaries:
    """Return an untrained pair for samples of ``shape``; train it with ``fit(pair, split, objective=Game())``."""
    return Adversaries(shape, noise, classes, width, bounds)
