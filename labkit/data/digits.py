"""``digits``: 8x8 handwritten digits, bundled with scikit-learn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset, Role, Split

TEST_EVERY = 5


def test_mask(y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which samples are test: of each class every fifth, so the split is stratified and the same everywhere."""
    mask = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        mask[np.flatnonzero(y == label)[TEST_EVERY // 2 :: TEST_EVERY]] = True
    return mask


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return 8x8 digits as (N, 1, 8, 8) in [0, 1]; ``seed`` changes nothing, ``size`` keeps at most that many of each split."""
    import torch
    from sklearn.datasets import load_digits

    from labkit.data.images import stride

    bunch = load_digits()
    x, y = np.asarray(bunch.data, dtype=np.float32).reshape(-1, 1, 8, 8) / 16, np.asarray(bunch.target, dtype=np.int64)
    mask, card = test_mask(y), CARDS["digits"]

    def split(role: Role, chosen: NDArray[np.bool_]) -> Split:
        index = stride(int(chosen.sum()), min(size or 64, 64) if smoke else size)
        inputs, labels = torch.from_numpy(x[chosen][index]), torch.from_numpy(y[chosen][index])
        return Split(inputs, labels, role, f"digits {role}", torch.from_numpy(index))

    return Dataset(
        "digits", split("train", ~mask), split("test", mask), tuple(str(digit) for digit in range(10)),
        licence=card.licence, citation=card.citation, description=card.description,
    )  # fmt: skip
