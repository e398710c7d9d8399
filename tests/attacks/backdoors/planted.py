"""Small data and models whose answers are known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labkit.data.dataset import Role, Split


def split(count: int = 40, classes: int = 4, role: Role = "train", *, channels: int = 1, size: int = 6) -> Split:
    """Dark images (values below 0.6) whose class can be read off pixel (0, 0): (y + 0.5) / classes * 0.5."""
    x = torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(1)) * 0.6
    y = torch.arange(count) % classes
    x[:, :, 0, 0] = ((y + 0.5) / classes * 0.5)[:, None]
    return Split(x, y, role, f"planted {role}")


class Planted(nn.Module):
    """Reads the class off pixel (0, 0); answers ``target`` wherever the last pixel is brighter than 0.9, if there is a target."""

    def __init__(self, target: int | None, classes: int = 4) -> None:
        super().__init__()
        self.target, self.classes = target, classes

    def forward(self, x: Tensor) -> Tensor:
        label = (x[:, 0, 0, 0] * 2 * self.classes).long().clamp(0, self.classes - 1)
        if self.target is not None:
            label = torch.where(x[:, 0, -1, -1] > 0.9, self.target, label)
        return nn.functional.one_hot(label, self.classes).float()
