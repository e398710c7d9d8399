"""What an attacker believes an input looks like, before asking the model: nothing, smoothness, or a span of public faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad


class Prior(Protocol):
    """Coordinates to search in: where to begin, which input each point means, and how unlikely that input is."""

    def start(self, count: int) -> Tensor:
        """Return the first points (count, ...)."""
        ...

    def decode(self, code: Tensor) -> Tensor:
        """Return the inputs (B, ...) of points, inside the model's bounds; differentiable."""
        ...

    def penalty(self, code: Tensor) -> Tensor:
        """Return how unlikely each point is, (B,), 0 or more; added to the attacker's cost."""
        ...


def total_variation(x: Tensor) -> Tensor:
    """Return the mean absolute difference of neighboring pixels, (B,), of images (B, C, H, W) (Rudin, Osher, Fatemi 1992)."""
    down, right = (x[..., 1:, :] - x[..., :-1, :]).abs(), (x[..., :, 1:] - x[..., :, :-1]).abs()
    return down.flatten(1).mean(1) + right.flatten(1).mean(1)


def smooth(x: Tensor, weight: float = 0.5) -> Tensor:
    """Return images (B, C, H, W) mixed with their 3x3 means: a denoising step to run between two steps of a descent.

    ``weight``: the share of the means, 0 to 1. Raises ValueError for another weight.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is the share of the smoothed image, 0 to 1, got {weight}")
    return (1 - weight) * x + weight * avg_pool2d(pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)


@dataclass(frozen=True)
class Pixels:
    """No belief beyond the bounds: the search runs over the values themselves.

    ``shape``: of one input. ``begin``: the first image, (*shape) or one number for all values (the paper begins with zeros). ``tv``:
    weight of the total variation in the cost: pictures have few edges.
    """

    shape: tuple[int, ...]
    begin: Tensor | float = 0.0
    tv: float = 0.0
    bounds: tuple[float, float] = (0.0, 1.0)

    def start(self, count: int) -> Tensor:
        """Return ``count`` copies of the first image."""
        first = self.begin if isinstance(self.begin, Tensor) else torch.full(self.shape, self.begin)
        return first.expand(count, *self.shape).clone()

    def decode(self, code: Tensor) -> Tensor:
        """Return the values themselves, clamped to the bounds; the gradient passes as if they were not.

        PyTorch's clamp has gradient zero at the bounds themselves: a search that begins with zeros would never leave them.
        """
        return code + (code.clamp(*self.bounds) - code).detach()

    def penalty(self, code: Tensor) -> Tensor:
        """Return the weighted total variation, (B,)."""
        return self.tv * total_variation(code) if self.tv else code.new_zeros(len(code))


@dataclass(frozen=True)
class Eigenfaces:
    """Public pictures' mean plus a weighted sum of their main differences (Turk, Pentland 1991): a linear generator.

    A point holds one number per component, in standard deviations: all zeros is the mean face. ``mean`` (*shape), ``components``
    (k, *shape), each scaled to one standard deviation; ``weight`` of |code|^2 / 2, the negative logarithm of a normal density.
    """

    mean: Tensor
    components: Tensor
    weight: float = 0.0
    bounds: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def fit(cls, public: Tensor, components: int, *, weight: float = 0.0, bounds: tuple[float, float] = (0.0, 1.0)) -> Eigenfaces:
        """Return the prior of public inputs (N, ...). Raises ValueError for more components than N - 1 or values.

        Nothing checks that these are other people than the private ones; an attack that uses private pictures here measures nothing.
        """
        flat = public.flatten(1).double()
        most = min(len(flat) - 1, flat.shape[1])
        if not 1 <= components <= most:
            raise ValueError(f"{len(flat)} inputs of {flat.shape[1]} values span 1 to {most} components, asked for {components}")
        mean = flat.mean(0)
        _, spread, directions = torch.linalg.svd(flat - mean, full_matrices=False)
        scaled = directions[:components] * (spread[:components, None] / (len(flat) - 1) ** 0.5)
        return cls(mean.view(public.shape[1:]).to(public), scaled.view(-1, *public.shape[1:]).to(public), weight, bounds)

    def start(self, count: int) -> Tensor:
        """Return the mean face's code, ``count`` times: (count, k) zeros."""
        return self.components.new_zeros(count, len(self.components))

    def decode(self, code: Tensor) -> Tensor:
        """Return the faces (B, *shape) of codes (B, k), clamped to the bounds."""
        faces: Tensor = self.mean + torch.tensordot(code, self.components, 1)
        return faces.clamp(*self.bounds)

    def encode(self, x: Tensor) -> Tensor:
        """Return the code (B, k) of inputs (B, *shape): the nearest face of the span, before clamping."""
        scaled = self.components.flatten(1)
        code: Tensor = (x - self.mean).flatten(1) @ scaled.T / scaled.square().sum(1)
        return code

    def penalty(self, code: Tensor) -> Tensor:
        """Return ``weight * |code|^2 / 2``, (B,)."""
        return 0.5 * self.weight * code.square().sum(1)


def first_points(prior: Prior, count: int, start: Tensor | None) -> Tensor:
    """Return the points to begin at: ``start`` (count, ...), checked, or the prior's own. Raises ValueError for another shape."""
    usual = prior.start(count)
    if start is None:
        return usual
    if start.shape != usual.shape:
        raise ValueError(f"start must be points of the prior, {tuple(usual.shape)}, got {tuple(start.shape)}")
    return start.to(usual).clone()


__all__ = ["Eigenfaces", "Pixels", "Prior", "first_points", "smooth", "total_variation"]
