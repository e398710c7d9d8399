"""``fashion_mnist``: found in torchvision's layout, ``LABKIT_DATA/FashionMNIST/raw``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from labkit.data import idx
from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset
from labkit.data.images import image_dataset
from labkit.data.sources import known_files
from labkit.data.verify import Verified
from labkit.files import data_dir

CLASSES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return Fashion-MNIST, (N, 1, 28, 28) in [0, 1]. ``seed`` changes nothing. Raises DataMissing, DataTruncated or DataCorrupt."""
    if smoke:
        from labkit.data.fake import write_idx

        with tempfile.TemporaryDirectory() as folder:
            known = write_idx(Path(folder) / "FashionMNIST" / "raw")
            arrays = idx.read("fashion_mnist", Path(folder), "FashionMNIST", known, Verified(remember=False))
    else:
        arrays = idx.read("fashion_mnist", data_dir(), "FashionMNIST", known_files("fashion_mnist"), Verified())
    return image_dataset(CARDS["fashion_mnist"], arrays, CLASSES, size=size)
