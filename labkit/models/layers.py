"""Layers and helpers that every network of the course shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

P = ParamSpec("P")
M = TypeVar("M", bound=nn.Module)


class Normalize(nn.Module):
    """``(x - mean) / std`` per channel, as the model's first layer, so that every attack sees pixels in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if any(s <= 0 for s in std):
            raise ValueError(f"standard deviations must be positive, got {list(std)}")
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def seeded(build: Callable[P, M]) -> Callable[..., M]:
    """Give a model builder a ``seed=`` and keep it from touching the global random state."""

    @wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> M:
        seed = kwargs.pop("seed", 0)
        with torch.random.fork_rng(devices=[]):
            # The CPU's generator only: torch.manual_seed would seed every GPU as well, which the fork does not give back.
            torch.default_generator.manual_seed(int(seed))  # type: ignore[call-overload]
            return build(*args, **kwargs)

    return wrapper
