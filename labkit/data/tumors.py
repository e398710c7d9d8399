"""``tumors``: the Wisconsin breast cancer measurements, bundled with scikit-learn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset, Role, Split
from labkit.data.digits import test_mask


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return (N, 30) measurements in [0, 1]; ``features`` names them, ``size`` keeps at most that many of each split.

    The scale comes from the training split alone (looking at the test split would leak it), so test values are clipped.
    ``seed`` changes nothing.
    """
    import torch
    from sklearn.datasets import load_breast_cancer

    from labkit.data.images import stride

    bunch = load_breast_cancer()
    raw, y = np.asarray(bunch.data, dtype=np.float64), np.asarray(bunch.target, dtype=np.int64)
    mask, card = test_mask(y), CARDS["tumors"]
    low, high = raw[~mask].min(axis=0), raw[~mask].max(axis=0)
    x = np.clip((raw - low) / (high - low), 0, 1).astype(np.float32)

    def split(role: Role, chosen: NDArray[np.bool_]) -> Split:
        index = stride(int(chosen.sum()), min(size or 64, 64) if smoke else size)
        inputs, labels = torch.from_numpy(x[chosen][index]), torch.from_numpy(y[chosen][index])
        return Split(inputs, labels, role, f"tumors {role}", torch.from_numpy(index))

    return Dataset(
        "tumors", split("train", ~mask), split("test", mask), ("malignant", "benign"),
        licence=card.licence, citation=card.citation, description=card.description,
        features=tuple(str(name) for name in bunch.feature_names),
    )  # fmt: skip
