"""``gtsrb``: the official archives as torchvision keeps them, or lossless WebP sheets of 32x32 with their tables."""

from __future__ import annotations

import csv
import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset
from labkit.data.errors import DataCorrupt
from labkit.data.images import image_dataset
from labkit.data.sheets import TILE, unpack
from labkit.data.sources import check_files, known_files, missing
from labkit.data.store import Arrays, cached
from labkit.data.verify import Known, Verified
from labkit.files import data_dir, fingerprint
from labkit.progress import progress

CLASSES = (
    "speed limit 20", "speed limit 30", "speed limit 50", "speed limit 60", "speed limit 70", "speed limit 80",
    "end of speed limit 80", "speed limit 100", "speed limit 120", "no passing", "no passing for trucks",
    "right of way at next crossing", "priority road", "yield", "stop", "closed to all vehicles", "closed to trucks", "no entry",
    "danger", "curve to the left", "curve to the right", "double curve", "bumpy road", "slippery road",
    "road narrows on the right", "road work", "traffic lights", "pedestrians", "children", "bicycles", "ice or snow",
    "wild animals", "end of all limits", "turn right", "turn left", "ahead only", "ahead or right", "ahead or left",
    "keep right", "keep left", "roundabout", "end of no passing", "end of no passing for trucks",
)  # fmt: skip
SHEET_FOLDER, ARCHIVE_FOLDER = "gtsrb-32x32", "gtsrb"
TRAIN_ZIP, TEST_ZIP, TRUTH_ZIP = "GTSRB-Training_fixed.zip", "GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"

KNOWN_SHEETS = {
    "train.csv": Known(381_942, "5471a60508277c5d48ab71e05df4f621"),
    "test.csv": Known(303_116, "e8c14462a83e302d3fd88cac0bee3868"),
    "train.webp": Known(22_465_040, "ebb7e3adba494bc42ccf97de2b545fd4"),
    "test.webp": Known(21_977_998, "485eb0824c6adeca69cd1e2d179887d7"),
}


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return GTSRB, (N, 3, 32, 32) in [0, 1]; official archives go before the packing. ``seed`` changes nothing.

    Decoded arrays are cached. Raises DataMissing, DataTruncated or DataCorrupt.
    """
    archives, sheets = data_dir() / ARCHIVE_FOLDER, data_dir() / SHEET_FOLDER
    if smoke:
        from labkit.data.fake import write_gtsrb_archives

        with tempfile.TemporaryDirectory() as name:
            known = write_gtsrb_archives(Path(name))
            check_files("gtsrb", Path(name), known, Verified(remember=False))
            arrays = read_archives(Path(name))
    elif (archives / TRAIN_ZIP).is_file():
        known = known_files("gtsrb")
        check_files("gtsrb", archives, known, Verified())
        arrays = cached(f"gtsrb-archives-v1-{fingerprint([facts.md5 for facts in known.values()])}", lambda: read_archives(archives))
    elif sheets.is_dir():
        check_files("gtsrb", sheets, KNOWN_SHEETS, Verified())
        key = fingerprint([facts.md5 for facts in KNOWN_SHEETS.values()])
        arrays = cached(f"gtsrb-sheets-v1-{key}", lambda: read_sheets(sheets))
    else:
        raise missing("gtsrb", f"{ARCHIVE_FOLDER}/{TRAIN_ZIP} and no {SHEET_FOLDER}/")
    return image_dataset(CARDS["gtsrb"], arrays, CLASSES, size=size)


def read_sheets(folder: Path) -> Arrays:
    """Return the arrays of the packing; its tables have one line per tile."""
    arrays: Arrays = {}
    for split in ("train", "test"):
        with open(folder / f"{split}.csv", encoding="utf-8", newline="") as file:
            labels = [int(row["class"]) for row in csv.DictReader(file)]
        arrays[f"x_{split}"] = unpack(folder / f"{split}.webp", len(labels))
        arrays[f"y_{split}"] = np.array(labels, dtype=np.uint8)
    return arrays


def read_archives(folder: Path) -> Arrays:
    """Return the arrays of the official archives, read without unpacking them; each picture is scaled to 32x32."""
    with zipfile.ZipFile(folder / TRAIN_ZIP) as archive:
        train = {name: int(name.split("/")[-2]) for name in sorted(archive.namelist()) if name.endswith(".ppm")}
        arrays = _scaled(archive, train, "train")
    with zipfile.ZipFile(folder / TRUTH_ZIP) as archive:
        text = archive.read("GT-final_test.csv").decode("utf-8")
    with zipfile.ZipFile(folder / TEST_ZIP) as archive:
        rows = csv.DictReader(io.StringIO(text), delimiter=";")
        test = {f"GTSRB/Final_Test/Images/{row['Filename']}": int(row["ClassId"]) for row in rows}
        return arrays | _scaled(archive, test, "test")


def _scaled(archive: zipfile.ZipFile, labels: Mapping[str, int], split: str) -> Arrays:
    x = np.empty((len(labels), TILE, TILE, 3), dtype=np.uint8)
    for i, name in enumerate(progress(labels, f"reading GTSRB ({split})", total=len(labels))):
        try:
            with Image.open(io.BytesIO(archive.read(name))) as picture:
                x[i] = np.asarray(picture.convert("RGB").resize((TILE, TILE), Image.Resampling.BILINEAR))
        except (KeyError, OSError) as error:
            raise DataCorrupt(f"{archive.filename}: {name} is absent or cannot be decoded ({error})") from error
    return {f"x_{split}": x, f"y_{split}": np.array(list(labels.values()), dtype=np.uint8)}
