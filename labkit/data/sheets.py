"""Packed images: lossless WebP sheets of 32x32 tiles, a hundred to a row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labkit.data.errors import DataCorrupt, DataTruncated

TILE, COLUMNS = 32, 100


def unpack(path: Path, n: int) -> NDArray[np.uint8]:
    """Return the first ``n`` tiles of a sheet, (n, 32, 32, 3) uint8. Raises DataTruncated or DataCorrupt."""
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, ValueError) as error:  # Pillow's word for anything it cannot decode
        raise DataCorrupt(f"{path} cannot be decoded as a picture: {error}") from error
    height, width = pixels.shape[:2]
    if width != TILE * COLUMNS or height % TILE:
        raise DataCorrupt(f"{path} is {width}x{height} pixels, not a sheet of {COLUMNS} tiles of {TILE} to a row")
    tiles = pixels.reshape(height // TILE, TILE, COLUMNS, TILE, 3).swapaxes(1, 2).reshape(-1, TILE, TILE, 3)
    if len(tiles) < n:
        raise DataTruncated(f"{path} has {len(tiles)} tiles; its table lists {n}")
    return tiles[:n]


def pack(images: NDArray[np.uint8], path: Path) -> None:
    """Write (n, 32, 32, 3) uint8 images as a sheet; unused tiles of the last row are black."""
    rows = -(-len(images) // COLUMNS)
    tiles = np.zeros((rows * COLUMNS, TILE, TILE, 3), dtype=np.uint8)
    tiles[: len(images)] = images
    pixels = tiles.reshape(rows, COLUMNS, TILE, TILE, 3).swapaxes(1, 2).reshape(rows * TILE, COLUMNS * TILE, 3)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, "WEBP", lossless=True)
