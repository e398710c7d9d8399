"""From arrays of bytes to a Dataset: channels first, float32 in [0, 1]."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labkit.data.cards import Card
from labkit.data.dataset import Dataset, Role, Split
from labkit.data.store import Arrays


def to_tensor(x: NDArray[np.uint8]) -> Tensor:
    """Return images (N, H, W) or (N, H, W, C) of bytes as float32 (N, C, H, W): each byte divided by 255."""
    pixels = torch.from_numpy(np.require(x, requirements=("C", "W")))
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
    return pixels.to(torch.float32).div_(255)


def stride(n: int, size: int | None) -> NDArray[np.int64]:
    """Return ``size`` positions at a constant stride over ``n`` (all of them when size is None or larger)."""
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    count = n if size is None else min(size, n)
    return np.arange(count, dtype=np.int64) * n // count


def image_dataset(card: Card, arrays: Arrays, classes: tuple[str, ...], *, size: int | None = None) -> Dataset:
    """Return the Dataset of ``x_train, y_train, x_test, y_test`` (bytes); ``size`` keeps at most that many of each, strided."""

    def split(role: Role) -> Split:
        x, y = arrays[f"x_{role}"], arrays[f"y_{role}"]
        index = stride(len(y), size)
        if len(index) < len(y):  # bytes are picked before they become four times larger
            x, y = x[index], y[index]
        labels = torch.from_numpy(y.astype(np.int64))
        return Split(to_tensor(x), labels, role, f"{card.name} {role}", torch.from_numpy(index))

    return Dataset(
        card.name, split("train"), split("test"), classes,
        licence=card.licence, citation=card.citation, description=card.description,
    )  # fmt: skip
