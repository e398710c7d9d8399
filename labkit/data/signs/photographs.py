"""Backgrounds: random crops of scikit-learn's two bundled photographs, train and test from regions that share no pixel."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Region(NamedTuple):
    """A box of a photograph, in pixels: left and top belong to it, right and bottom do not."""

    photograph: str
    left: int
    top: int
    right: int
    bottom: int


# Each photograph is cut down the middle of its subject, so that both splits see pagoda, sky, trees, flower and leaves.
REGIONS: dict[str, tuple[Region, ...]] = {
    "train": (Region("china.jpg", 215, 0, 640, 427), Region("flower.jpg", 312, 0, 640, 427)),
    "test": (Region("china.jpg", 0, 0, 205, 427), Region("flower.jpg", 0, 0, 300, 427)),
}
_CHINA_SHARE = 0.75  # a road is seen before houses and trees more often than before a garden


@cache
def photograph(name: str) -> NDArray[np.uint8]:
    """Return one of scikit-learn's bundled photographs, (427, 640, 3) uint8; nothing is downloaded."""
    from sklearn.datasets import load_sample_image

    return np.asarray(load_sample_image(name), dtype=np.uint8)


@cache
def _region(split: str, number: int) -> Image.Image:
    region = REGIONS[split][number]
    # The pixels are cut out first, so that not even a resampling filter can reach across the border of the region.
    pixels = photograph(region.photograph)[region.top : region.bottom, region.left : region.right]
    return Image.fromarray(np.ascontiguousarray(pixels))


def crop(split: str, rng: np.random.Generator, pixels: int, *, smallest: int = 40, largest: int = 200) -> Image.Image:
    """Return a random square crop of a split's regions, scaled to ``pixels`` x ``pixels`` and mirrored half of the time."""
    source = _region(split, 0 if rng.random() < _CHINA_SHARE else 1)
    side = int(rng.integers(smallest, largest + 1))
    left = int(rng.integers(0, source.width - side + 1))
    top = int(rng.integers(0, source.height - side + 1))
    picture = source.resize((pixels, pixels), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else picture
