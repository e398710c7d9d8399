"""``cifar10``: torchvision's python batches, or lossless WebP sheets with a table of labels."""

from __future__ import annotations

import csv
import gzip
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from labkit.data import batches
from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset
from labkit.data.errors import DataCorrupt
from labkit.data.images import image_dataset
from labkit.data.sheets import unpack
from labkit.data.sources import check_files, missing
from labkit.data.store import Arrays, cached
from labkit.data.verify import Known, Verified
from labkit.files import data_dir, fingerprint
from labkit.progress import progress

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")
BATCH_FOLDER, SHEET_FOLDER = "cifar-10-batches-py", "cifar-10"

# The files that torchvision unpacks from the archive, with the MD5 sums that it checks.
KNOWN_BATCHES = {
    "data_batch_1": Known(31_035_704, "c99cafc152244af753f735de768cd75f"),
    "data_batch_2": Known(31_035_320, "d4bba439e000b95fd0a9bffe97cbabec"),
    "data_batch_3": Known(31_035_999, "54ebc095f3ab1f0389bbae665268c751"),
    "data_batch_4": Known(31_035_696, "634d18415352ddfa80567beed471001a"),
    "data_batch_5": Known(31_035_623, "482c414d41f54cd18b22e5b47cb7c3cb"),
    "test_batch": Known(31_035_526, "40351d587109b95175f43aff81a1287e"),
}
KNOWN_SHEETS = {
    "data_batch_1.webp": Known(17_040_942, "6b421e5a6a8526ab567243c7a6bc2947"),
    "data_batch_2.webp": Known(17_085_808, "55f78b09e98e41e1942d2e5d8fe59c4b"),
    "data_batch_3.webp": Known(17_091_114, "3b73af8ea5a73f409813a3bdf7f69231"),
    "data_batch_4.webp": Known(17_061_958, "86f1aa1f7dd93f480d929a5a7eb254ff"),
    "data_batch_5.webp": Known(17_048_054, "b679a467598b2b73e5f871afe2973b41"),
    "test_batch.webp": Known(17_073_994, "62b68d7974a6634a4e85e3dcdfea3b39"),
    "labels.csv.gz": Known(445_307, "6f98a6cdb49200c0c308c072b1515858"),
}


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return CIFAR-10, (N, 3, 32, 32) in [0, 1]. ``seed`` changes nothing. Raises DataMissing, DataTruncated or DataCorrupt."""
    if smoke:
        from labkit.data.fake import write_batches

        with tempfile.TemporaryDirectory() as name:
            known = write_batches(Path(name) / BATCH_FOLDER)
            arrays = read_batches(Path(name) / BATCH_FOLDER, known, Verified(remember=False))
    elif (folder := data_dir() / BATCH_FOLDER).is_dir():
        arrays = read_batches(folder, KNOWN_BATCHES, Verified())
    elif (folder := data_dir() / SHEET_FOLDER).is_dir():
        check_files("cifar10", folder, KNOWN_SHEETS, Verified())
        key = fingerprint([facts.md5 for facts in KNOWN_SHEETS.values()])
        arrays = cached(f"cifar10-v1-{key}", lambda: read_sheets(folder))
    else:
        raise missing("cifar10", f"{BATCH_FOLDER}/ and no {SHEET_FOLDER}/")
    return image_dataset(CARDS["cifar10"], arrays, CLASSES, size=size)


def read_batches(folder: Path, known: Mapping[str, Known], verified: Verified) -> Arrays:
    """Return the arrays of torchvision's layout, after verifying each file."""
    check_files("cifar10", folder, known, verified)
    parts = [batches.parse((folder / name).read_bytes(), folder / name) for name in BATCHES]
    return {
        "x_train": np.concatenate([x for x, _ in parts[:-1]]), "y_train": np.concatenate([y for _, y in parts[:-1]]),
        "x_test": np.ascontiguousarray(parts[-1][0]), "y_test": parts[-1][1],
    }  # fmt: skip


def read_sheets(folder: Path) -> Arrays:
    """Return the arrays of the packed sheets; the table lists batch, index and label of each tile."""
    labels: dict[str, list[int]] = {name: [] for name in BATCHES}
    with gzip.open(folder / "labels.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["batch"] not in labels or int(row["index"]) != len(labels[row["batch"]]) or not 0 <= int(row["label"]) < 10:
                raise DataCorrupt(f"{folder / 'labels.csv.gz'}: the line {row} is out of order or range")
            labels[row["batch"]].append(int(row["label"]))
    names = progress(BATCHES, "unpacking CIFAR-10", total=len(BATCHES))
    tiles = [unpack(folder / f"{name}.webp", len(labels[name])) for name in names]
    train = [label for name in BATCHES[:-1] for label in labels[name]]
    return {
        "x_train": np.concatenate(tiles[:-1]), "y_train": np.array(train, dtype=np.uint8),
        "x_test": np.ascontiguousarray(tiles[-1]), "y_test": np.array(labels["test_batch"], dtype=np.uint8),
    }  # fmt: skip
