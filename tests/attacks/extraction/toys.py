"""A service whose right copy is known, and inputs to ask it about."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labkit.models import linear


def teacher() -> nn.Module:
    """Return a linear service of 4 values and 3 classes, sure of its answers."""
    model = linear(4, 3, seed=1)
    with torch.no_grad():
        model[1].weight.mul_(6)
    return model


def pool(n: int, seed: int = 0) -> Tensor:
    """Return n inputs (n, 4) from -1 to 1."""
    return torch.rand(n, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
