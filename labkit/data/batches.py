"""CIFAR-10's python batches, read without trusting them: an unpickler that can build byte arrays and nothing else."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labkit.data.errors import DataCorrupt, DataTruncated

_RECONSTRUCT = np.empty(0).__reduce__()[0]  # NumPy's own rebuilding function, wherever this version keeps it


class _BytesOnly(pickle.Unpickler):
    """Resolves the three names that a NumPy 1 or 2 array needs; every other name (``os.system``) is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _RECONSTRUCT
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of images needs")


def parse(content: bytes, source: Path | str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the images (n, 32, 32, 3) and labels (n,) of one python batch, both uint8.

    Raises DataTruncated or DataCorrupt, also for a pickle that would do anything but hold arrays.
    """
    try:
        batch = _BytesOnly(io.BytesIO(content), encoding="latin1").load()
    except EOFError as error:
        raise DataTruncated(f"{source} is truncated: {len(content):,} bytes, and the pickle does not end") from error
    except Exception as error:  # a damaged pickle may raise nearly anything
        if "truncated" in str(error):
            raise DataTruncated(f"{source} is truncated: {error}") from error
        raise DataCorrupt(f"{source} is not a batch of CIFAR-10: {error}") from error
    if not isinstance(batch, dict) or not {"data", "labels"} <= set(batch):
        raise DataCorrupt(f"{source} is not a batch of CIFAR-10: it has no 'data' and 'labels'")
    planes, labels = batch["data"], batch["labels"]
    if not isinstance(planes, np.ndarray) or planes.dtype != np.uint8 or planes.ndim != 2 or planes.shape[1] != 3072:
        raise DataCorrupt(f"{source}: 'data' is not an array of bytes with 3,072 columns")
    if not isinstance(labels, list) or len(labels) != len(planes) or not all(isinstance(y, int) and 0 <= y < 10 for y in labels):
        raise DataCorrupt(f"{source}: 'labels' is not a list of {len(planes)} numbers from 0 to 9")
    return planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.array(labels, dtype=np.uint8)
