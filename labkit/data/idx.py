"""MNIST and its relatives: the IDX format, packed (.gz) or unpacked, in torchvision's folders."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labkit.data.errors import DataCorrupt, DataTruncated
from labkit.data.sources import missing, remedy
from labkit.data.store import Arrays
from labkit.data.verify import Known, Verified

_FILES = {
    "x_train": "train-images-idx3-ubyte", "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte", "y_test": "t10k-labels-idx1-ubyte",
}  # fmt: skip


def parse(content: bytes, source: Path | str) -> NDArray[np.uint8]:
    """Return the array of an IDX file of bytes: two zeros, type 8, rank, the sizes as big-endian words, the values.

    Raises DataCorrupt for another header, DataTruncated when values are missing.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or not 1 <= content[3] <= 3:
        raise DataCorrupt(f"{source} is not an IDX file of bytes: it begins with {content[:4].hex() or 'nothing'}, not 000008")
    start = 4 + 4 * content[3]
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    need = start + int(np.prod(shape, dtype=np.int64))
    if len(content) < need:
        raise DataTruncated(f"{source} is truncated: {len(content):,} of {need:,} bytes for the shape {shape} in its header")
    if len(content) > need:
        raise DataCorrupt(f"{source} has {len(content) - need:,} bytes more than the shape {shape} in its header")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read(name: str, root: Path, folder: str, known: Mapping[str, Known], verified: Verified) -> Arrays:
    """Return the four arrays of ``root/folder/raw``; packed files are verified by checksum, unpacked ones where it is known.

    Raises DataMissing, DataTruncated or DataCorrupt.
    """
    arrays: Arrays = {}
    for key, file in _FILES.items():
        packed, plain = root / folder / "raw" / f"{file}.gz", root / folder / "raw" / file
        path = packed if packed.is_file() else plain
        if not path.is_file():
            raise missing(name, f"{folder}/raw/{file}.gz")
        if facts := known.get(path.name):
            verified.check(path, "md5", facts.md5, size=facts.size, remedy=remedy(name))
        try:
            content = gzip.decompress(path.read_bytes()) if path is packed else path.read_bytes()
        except EOFError as error:
            raise DataTruncated(f"{path} is truncated: {error}. {remedy(name)}") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DataCorrupt(f"{path} is corrupt: {error}. {remedy(name)}") from error
        arrays[key] = parse(content, path)
    for split in ("train", "test"):
        images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise DataCorrupt(f"{root / folder}: {split} images have shape {images.shape}, labels {labels.shape}: not one set")
    return arrays
