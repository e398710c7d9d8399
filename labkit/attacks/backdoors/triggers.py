"""Triggers: what the attacker puts on an input, in training and later, so that the model answers what he wishes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from labkit.attacks.checks import check_images
from labkit.data.dataset import Split
from labkit.seeding import generator

Color = float | tuple[float, ...]


@dataclass(frozen=True)
class Trigger(ABC):
    """A change of an image that can be repeated at will; ``trigger(x)`` is ``trigger.apply(x)``."""

    @abstractmethod
    def paint(self, x: Tensor) -> Tensor:
        """Return x (B, C, H, W) with the trigger on it, before clamping to [0, 1]; never in place."""

    def apply(self, x: Tensor) -> Tensor:
        """Return a copy of images x (B, C, H, W) in [0, 1] with the trigger on each.

        Raises TypeError or ValueError for anything but floating-point images in [0, 1].
        """
        check_images(x, 0.0, 1.0)
        if x.ndim != 4:
            raise ValueError(f"a trigger goes on images (B, C, H, W), got shape {tuple(x.shape)}; use x[None] for a single image")
        return self.paint(x).clamp(0, 1)

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``apply(x)``."""
        return self.apply(x)

    def stamp(self, split: Split) -> Tensor:
        """Return the inputs of a split (N, C, H, W) with the trigger; one that is painted on the object needs to know which samples."""
        return self.apply(split.x)


@dataclass(frozen=True)
class Square(Trigger):
    """A filled square of ``side`` pixels, of one gray value or one value per channel; Gu et al. 2017, arXiv 1708.06733.

    ``row``, ``column``: its upper left pixel; negative ones count from the lower and the right edge. ``opacity``: 1 covers what is below,
    less lets it shine through.
    """

    side: int = 3
    row: int = -4
    column: int = -4
    color: Color = 1.0
    opacity: float = 1.0

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"side must be 1 pixel or more, got {self.side}")
        _check_share("opacity", self.opacity)
        _check_color(self.color)

    def paint(self, x: Tensor) -> Tensor:
        """Mix the square's color with what is below. Raises ValueError when the square does not fit."""
        height, width = x.shape[-2:]
        row, column = _from_edge(self.row, height), _from_edge(self.column, width)
        if min(row, column) < 0 or row + self.side > height or column + self.side > width:
            where = f"row {self.row}, column {self.column}"
            raise ValueError(f"a square of {self.side} pixels at {where} does not fit {height} x {width} images")
        out = x.clone()
        place = out[..., row : row + self.side, column : column + self.side]
        place.lerp_(_channels(self.color, x).expand_as(place), self.opacity)
        return out


@dataclass(frozen=True)
class Pixels(Trigger):
    """Single pixels set to one value: ``at`` holds (row, column) pairs, negative ones counted from the far edges; arXiv 1708.06733."""

    at: tuple[tuple[int, int], ...] = ((-2, -2),)
    color: Color = 1.0

    def __post_init__(self) -> None:
        if not self.at:
            raise ValueError("a trigger without pixels changes nothing: give at least one (row, column)")
        _check_color(self.color)

    def paint(self, x: Tensor) -> Tensor:
        """Set the pixels. Raises ValueError for one outside the image."""
        out, (height, width) = x.clone(), x.shape[-2:]
        for row, column in self.at:
            if not (-height <= row < height and -width <= column < width):
                raise ValueError(f"pixel ({row}, {column}) lies outside {height} x {width} images")
            out[..., row, column] = _channels(self.color, x)[..., 0, 0]
        return out


@dataclass(frozen=True)
class Blend(Trigger):
    """A whole picture shining through: (1 - opacity) x + opacity picture; Chen et al. 2017, arXiv 1712.05526.

    ``picture``: (C, H, W) in [0, 1]; without one, noise that ``seed`` draws for the images' shape, the paper's random pattern.
    """

    opacity: float = 0.2
    seed: int = 0
    picture: Tensor | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_share("opacity", self.opacity)
        if self.picture is not None:
            check_images(self.picture[None], 0.0, 1.0)

    def pattern(self, x: Tensor) -> Tensor:
        """Return the picture for images like x, (C, H, W). Raises ValueError when a picture of another shape was given."""
        if self.picture is None:
            return torch.rand(x.shape[1:], generator=generator(self.seed, "blend pattern"), dtype=torch.float64).to(x)
        if self.picture.shape != x.shape[1:]:
            raise ValueError(f"the picture has shape {tuple(self.picture.shape)}, the images {tuple(x.shape[1:])}")
        return self.picture.to(x)

    def paint(self, x: Tensor) -> Tensor:
        """Mix every image with the pattern."""
        return torch.lerp(x, self.pattern(x).expand_as(x), self.opacity)


@dataclass(frozen=True)
class Sinusoid(Trigger):
    """SIG: x + strength sin(2 pi column frequency / W), the same in every row and channel; Barni et al. 2019, arXiv 1902.11237."""

    strength: float = 20 / 255
    frequency: float = 6.0

    def __post_init__(self) -> None:
        _check_share("strength", self.strength)

    def paint(self, x: Tensor) -> Tensor:
        """Add the wave."""
        columns = torch.arange(x.shape[-1], dtype=torch.float64)
        return x + (self.strength * torch.sin(2 * math.pi * self.frequency * columns / x.shape[-1])).to(x)


def _from_edge(place: int, size: int) -> int:
    return place + size if place < 0 else place


def _channels(color: Color, x: Tensor) -> Tensor:
    """Return the color as (C, 1, 1) or (1, 1, 1). Raises ValueError for another number of channels than the images have."""
    values = torch.tensor(color if isinstance(color, tuple) else (color,), dtype=x.dtype, device=x.device)
    if len(values) not in (1, x.shape[1]):
        raise ValueError(f"the color has {len(values)} values, the images have {x.shape[1]} channels")
    return values.view(-1, 1, 1)


def _check_color(color: Color) -> None:
    values = color if isinstance(color, tuple) else (color,)
    if not values or not all(0 <= value <= 1 for value in values):
        raise ValueError(f"a color has values in [0, 1], got {color}: divide by 255?")


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError(f"{name} must lie in (0, 1], got {value}: at 0 there is no trigger")


__all__ = ["Blend", "Color", "Pixels", "Sinusoid", "Square", "Trigger"]
