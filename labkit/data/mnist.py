"""``mnist``: found in torchvision's layout, ``LABKIT_DATA/MNIST/raw``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from labkit.data import idx
from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset
from labkit.data.images import image_dataset
from labkit.data.sources import known_files
from labkit.data.verify import Known, Verified
from labkit.files import data_dir

# torchvision leaves the unpacked files beside the archives; these are their sums.
UNPACKED = {
    "train-images-idx3-ubyte": Known(47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": Known(60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": Known(7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": Known(10_008, "27ae3e4e09519cfbb04c329615203637"),
}
CLASSES = tuple(str(digit) for digit in range(10))


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return MNIST, (N, 1, 28, 28) in [0, 1]. ``seed`` changes nothing. Raises DataMissing, DataTruncated or DataCorrupt."""
    if smoke:
        from labkit.data.fake import write_idx

        with tempfile.TemporaryDirectory() as folder:
            known = write_idx(Path(folder) / "MNIST" / "raw")
            arrays = idx.read("mnist", Path(folder), "MNIST", known, Verified(remember=False))
    else:
        arrays = idx.read("mnist", data_dir(), "MNIST", known_files("mnist") | UNPACKED, Verified())
    return image_dataset(CARDS["mnist"], arrays, CLASSES, size=size)
