"""``ecg5000``: 500 real heartbeats, found in ``LABKIT_DATA/ecg5000/ECG5000_TRAIN.txt.gz`` (the archive's training part)."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from pathlib import Path

import numpy as np
import torch

from labkit.data.bring import brought
from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset, Role, Split
from labkit.data.errors import DataCorrupt
from labkit.data.images import stride
from labkit.data.verify import Known

CLASSES = ("normal", "R-on-T premature ventricular", "premature ventricular", "supraventricular premature", "unclassified")
SAMPLES, LOW, HIGH = 140, -8.0, 8.0  # standard deviations of the beat: what 0 and 1 stand for
PATH = "ecg5000/ECG5000_TRAIN.txt.gz"
KNOWN = Known(371_758, "43e21cd10f1d2b7880f67d00570eb543")
ORIGIN = "the UCR time series archive (ECG5000_TRAIN.txt, packed with gzip)"


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return (N, 1, 140) beats, 0 to 1 standing for -8 to 8 standard deviations; of each class every fifth beat is test.

    ``size`` keeps at most that many of each split, at a constant stride; ``seed`` changes nothing. Raises DataMissing, DataTruncated
    or DataCorrupt, ValueError for size < 1.
    """
    if smoke:
        from labkit.data.fake import write_ecg5000

        with tempfile.TemporaryDirectory() as folder:
            x, y = read(write_ecg5000(Path(folder)))
        every = 2
    else:
        (x, y), every = read(brought("ecg5000", PATH, KNOWN, ORIGIN)), 5
    rank = np.array([(y[:i] == label).sum() for i, label in enumerate(y)])
    held = rank % every == every - 1
    card = CARDS["ecg5000"]

    def split(role: Role) -> Split:
        mine = np.flatnonzero(held if role == "test" else ~held)
        index = stride(len(mine), size)
        beats = ((x[mine[index]] - LOW) / (HIGH - LOW)).clip(0, 1).astype(np.float32)
        return Split(torch.from_numpy(beats)[:, None], torch.from_numpy(y[mine[index]]), role, f"ecg5000 {role}", torch.from_numpy(index))

    return Dataset("ecg5000", split("train"), split("test"), CLASSES,
                   licence=card.licence, citation=card.citation, description=card.description)  # fmt: skip


def read(path: Path) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return the beats (N, 140) and their classes, counted from 0. Raises DataCorrupt for another table."""
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataCorrupt(f"{path} is no packed table of numbers ({error})") from error
    if table.shape[1] != 1 + SAMPLES:
        raise DataCorrupt(f"{path} has {table.shape[1]} columns, expected the class and {SAMPLES} samples")
    return table[:, 1:], table[:, 0].astype(np.int64) - 1
