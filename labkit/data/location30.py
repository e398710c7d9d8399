"""``location30``: which places 5,010 people visited, in 30 groups; found in ``LABKIT_DATA/location-30``."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from labkit.data.bring import brought
from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset, Role, Split
from labkit.data.errors import DataCorrupt
from labkit.data.images import stride
from labkit.data.verify import Known

PATH, MEMBER = "location-30/dataset_location.tgz", "bangkok"
KNOWN = Known(287_293, "66851c781a61f51b35ead292b5f303e3")
ORIGIN = "https://github.com/privacytrustlab/datasets (dataset_location.tgz)"
PLACES, GROUPS, TEST_EVERY = 446, 30, 3


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return (N, 446) inputs, 1 for a place or kind of place that the person visited, else 0; labels are groups of similar people.

    Of each group every third record is test. ``size`` keeps at most that many of each split, strided; ``seed`` changes nothing. Raises
    DataMissing, DataTruncated or DataCorrupt.
    """
    if smoke:
        from labkit.data.fake import write_location30

        with tempfile.TemporaryDirectory() as folder:
            write_location30(Path(folder) / Path(PATH).name)
            x, y = read(Path(folder) / Path(PATH).name)
    else:
        x, y = read(brought("location30", PATH, KNOWN, ORIGIN))
    mask = np.zeros(len(y), dtype=bool)
    for group in range(GROUPS):
        mask[np.flatnonzero(y == group)[TEST_EVERY // 2 :: TEST_EVERY]] = True
    card = CARDS["location30"]

    def split(role: Role, chosen: NDArray[np.bool_]) -> Split:
        index = stride(int(chosen.sum()), min(size or 64, 64) if smoke else size)
        inputs, labels = torch.from_numpy(x[chosen][index]), torch.from_numpy(y[chosen][index])
        return Split(inputs, labels, role, f"location30 {role}", torch.from_numpy(index))

    return Dataset(
        "location30", split("train", ~mask), split("test", mask), tuple(f"group {group + 1}" for group in range(GROUPS)),
        licence=card.licence, citation=card.citation, description=card.description,
    )  # fmt: skip


def read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return inputs (N, 446) and labels (N,), 0 to 29, of the archive. Raises DataCorrupt for anything that is not such records."""
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile(MEMBER)
            text = "" if member is None else member.read().decode("ascii")
        table = np.loadtxt(io.StringIO(text.replace('"', "")), delimiter=",", dtype=np.int64, ndmin=2)
    except (tarfile.TarError, EOFError, zlib.error, OSError, KeyError, ValueError) as error:
        raise DataCorrupt(f"{path} cannot be read as records of {PLACES} places: {error}") from error
    if not len(table) or table.shape[1] != PLACES + 1:
        raise DataCorrupt(f"{path}: {table.shape[1]} numbers in a line, expected a group and {PLACES} places")
    groups, places = table[:, 0], table[:, 1:]
    if groups.min() < 1 or groups.max() > GROUPS or places.min() < 0 or places.max() > 1:
        seen = f"groups {groups.min()} to {groups.max()}, expected 1 to {GROUPS}; places {places.min()} to {places.max()}, expected 0 or 1"
        raise DataCorrupt(f"{path}: {seen}")
    return places.astype(np.float32), groups - 1
