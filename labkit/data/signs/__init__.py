"""``signs``: the course's running example, ten traffic signs drawn over photographs, 32x32 RGB.

Sample i of a split is drawn from its own generator, so it does not depend on how many others are drawn, nor in what
order; every ten consecutive samples hold each class once. Another version of Pillow or NumPy may give slightly different
pixels: the fingerprint is of the content, so nothing that was computed on other pixels is mistaken for this.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labkit.data.dataset import Dataset
from labkit.data.images import image_dataset
from labkit.data.signs.faces import CLASSES
from labkit.data.store import Arrays, cached
from labkit.files import cache_dir
from labkit.progress import progress
from labkit.seeding import numpy_generator

__all__ = ["CLASSES", "FORMAT", "TEST", "TRAIN", "draw_split", "load"]

FORMAT = 1  # raise it with every change of the pictures
TRAIN, TEST = 6_500, 2_000


def labels(split: str, n: int, seed: int) -> NDArray[np.uint8]:
    """Return the first ``n`` labels of a split: random order, each class once in every ten."""
    count = len(CLASSES)
    blocks = [numpy_generator(seed, "signs", split, "labels", block).permutation(count) for block in range(-(-n // count))]
    return np.concatenate(blocks)[:n].astype(np.uint8)


def draw_split(split: str, n: int, seed: int = 0) -> Arrays:
    """Draw the first ``n`` samples of a split: ``x`` (n, 32, 32, 3) and ``y`` (n,), both uint8; about 2 ms a sample."""
    from labkit.data.signs.scene import PIXELS, draw

    y = labels(split, n, seed)
    x = np.empty((n, PIXELS, PIXELS, 3), dtype=np.uint8)
    for i in progress(range(n), f"drawing signs ({split})", total=n):
        x[i] = draw(int(y[i]), split, numpy_generator(seed, "signs", split, i))
    return {"x": x, "y": y}


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return the signs of a seed, drawn once and then cached; ``size`` takes the first that many of each split.

    The samples are independent draws with balanced labels, so here (and only here) "the first n" is a fair sample; what
    is drawn for a small size is exactly the beginning of the whole. Raises ValueError when size is not positive.
    """
    from labkit.data import cards

    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    most = min(64 if smoke else TRAIN, size or TRAIN)
    wanted = {"train": most, "test": min(most, TEST)}
    key = f"signs-v{FORMAT}-seed{seed}"
    if (size is None and not smoke) or (cache_dir("data") / f"{key}.npz").is_file():
        arrays = cached(key, lambda: _whole(seed))
    else:  # a few samples are drawn faster than all, and not worth a file
        arrays = _draw(wanted, seed)
    pick = {f"{part}_{split}": arrays[f"{part}_{split}"][:n] for split, n in wanted.items() for part in "xy"}
    return image_dataset(cards.CARDS["signs"], pick, CLASSES)


def _draw(counts: dict[str, int], seed: int) -> Arrays:
    splits = {split: draw_split(split, n, seed) for split, n in counts.items()}
    return {f"{part}_{split}": array for split, arrays in splits.items() for part, array in arrays.items()}


def _whole(seed: int) -> Arrays:
    return _draw({"train": TRAIN, "test": TEST}, seed)
