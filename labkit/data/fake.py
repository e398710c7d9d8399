"""Tiny made-up data sets in the real files' layouts, for the ``smoke`` profile and for tests: 64 samples a split.

Each class is a bright spot at its own place plus noise, so that training on them runs; numbers from them mean nothing.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import struct
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labkit.data.verify import Known
from labkit.seeding import numpy_generator

SAMPLES = 64


def samples(split: str, shape: tuple[int, ...], classes: int, n: int = SAMPLES) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return ``n`` made-up images (n, *shape) and labels (n,), which run through the classes; both uint8."""
    y = (np.arange(n) % classes).astype(np.uint8)
    x = numpy_generator(0, "fake", split).integers(0, 64, (n, *shape), dtype=np.uint8)
    for image, label in zip(x, y.tolist(), strict=True):
        row, column = (int(shape[0] * (0.5 + 0.32 * turn(2 * math.pi * label / classes))) for turn in (math.sin, math.cos))
        image[row - 2 : row + 3, column - 2 : column + 3] = 230
    return x, y


def _known(folder: Path, names: list[str]) -> dict[str, Known]:
    contents = {name: (folder / name).read_bytes() for name in names}
    return {name: Known(len(content), hashlib.md5(content).hexdigest()) for name, content in contents.items()}


def write_idx(folder: Path) -> dict[str, Known]:
    """Write the four files of MNIST's layout into ``folder`` (``.../MNIST/raw``) and return their sizes and checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for split, stem in (("train", "train"), ("test", "t10k")):
        x, y = samples(split, (28, 28), 10)
        for array, kind in ((x, "images"), (y, "labels")):
            header = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            names.append(f"{stem}-{kind}-idx{array.ndim}-ubyte.gz")
            (folder / names[-1]).write_bytes(gzip.compress(header + array.tobytes(), 1, mtime=0))
    return _known(folder, names)


def python2_batch(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> bytes:
    """Return a batch as Python 2 pickled it (protocol 2, strings of bytes): a dictionary of labels and an array of planes."""
    planes = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    rows, columns = (b"J" + struct.pack("<i", size) for size in planes.shape)
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    content = b"T" + struct.pack("<i", planes.size) + planes.tobytes()
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in y.tolist()) + b"e"
    state = b"(K\x01" + rows + columns + b"\x86" + dtype + b"\x89" + content + b"tb"
    return b"\x80\x02}(U\x06labels" + labels + b"U\x04data" + array + state + b"u."


def write_batches(folder: Path) -> dict[str, Known]:
    """Write the six python batches of CIFAR-10's layout (64 training images over five files) and return what is known of them."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y = samples("train", (32, 32, 3), 10)
    names = [f"data_batch_{k}" for k in range(1, 6)]
    for name, images, labels in zip(names, np.array_split(x, 5), np.array_split(y, 5), strict=True):
        (folder / name).write_bytes(python2_batch(images, labels))
    (folder / "test_batch").write_bytes(python2_batch(*samples("test", (32, 32, 3), 10)))
    return _known(folder, [*names, "test_batch"])


def write_gtsrb_archives(folder: Path) -> dict[str, Known]:
    """Write the three zip archives of GTSRB's official layout, pictures of various sizes, and return what is known of them."""
    folder.mkdir(parents=True, exist_ok=True)
    train_zip, test_zip, truth_zip = "GTSRB-Training_fixed.zip", "GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"
    with zipfile.ZipFile(folder / train_zip, "w") as archive:
        for i, (image, label) in enumerate(zip(*samples("train", (40, 44, 3), 43), strict=True)):
            archive.writestr(f"GTSRB/Training/{label:05}/{i:05}_00000.ppm", _ppm(image))
    table = io.StringIO()
    rows = csv.writer(table, delimiter=";", lineterminator="\r\n")
    rows.writerow(["Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"])
    with zipfile.ZipFile(folder / test_zip, "w") as archive:
        for i, (image, label) in enumerate(zip(*samples("test", (36, 30, 3), 43), strict=True)):
            archive.writestr(f"GTSRB/Final_Test/Images/{i:05}.ppm", _ppm(image))
            rows.writerow([f"{i:05}.ppm", 30, 36, 4, 4, 26, 32, int(label)])
    with zipfile.ZipFile(folder / truth_zip, "w") as archive:
        archive.writestr("GT-final_test.csv", table.getvalue())
    return _known(folder, [train_zip, test_zip, truth_zip])


def _ppm(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PPM")
    return buffer.getvalue()
