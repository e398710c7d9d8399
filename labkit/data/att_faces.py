"""``att_faces``: the AT&T (ORL) faces, 38 of the 40 people, found in ``LABKIT_DATA/att_faces/att_faces.zip``."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labkit.data.bring import brought
from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset
from labkit.data.errors import DataCorrupt
from labkit.data.images import image_dataset
from labkit.data.store import Arrays
from labkit.data.verify import Known

#: People s3 to s40: the copy at hand lacks s1 and s2.
PEOPLE = tuple(range(3, 41))
CLASSES = tuple(f"s{number}" for number in PEOPLE)
PICTURES, HEIGHT, WIDTH = 10, 112, 92
#: Which of a person's ten pictures are test: three, as in Fredrikson et al. 2015, spread over the series.
HELD_OUT = (2, 5, 8)
PATH = "att_faces/att_faces.zip"
KNOWN = Known(3_589_936, "d14ffedba60ea810bd3d709ae989f041")
ORIGIN = "a copy of the AT&T Database of Faces with the folders s3 to s40, zipped as att_faces/sN/M.pgm; only this packing is known"


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return (N, 1, 112, 92) gray photographs in [0, 1] of 38 people: of each person pictures 2, 5 and 8 are test, seven train.

    People in turn within each picture number. ``size`` keeps at most that many of each split, at a constant stride; ``seed`` changes
    nothing. Raises DataMissing, DataTruncated or DataCorrupt, ValueError for size < 1.
    """
    if smoke:
        from labkit.data.fake import write_att_faces

        with tempfile.TemporaryDirectory() as folder:
            x = read(write_att_faces(Path(folder)))
        return image_dataset(CARDS["att_faces"], _split(x), CLASSES, size=min(size, 64) if size is not None else 64)
    return image_dataset(CARDS["att_faces"], _split(read(brought("att_faces", PATH, KNOWN, ORIGIN))), CLASSES, size=size)


def read(path: Path) -> NDArray[np.uint8]:
    """Return the photographs (people, 10, 112, 92) of the archive, bytes. Raises DataCorrupt for one that is absent or no such PGM."""
    header = f"P5\n{WIDTH} {HEIGHT}\n255\n".encode()
    x = np.empty((len(PEOPLE), PICTURES, HEIGHT, WIDTH), dtype=np.uint8)
    with zipfile.ZipFile(path) as archive:
        for i, number in enumerate(PEOPLE):
            for j in range(PICTURES):
                name = f"att_faces/s{number}/{j + 1}.pgm"
                try:
                    content = archive.read(name)
                except (KeyError, zipfile.BadZipFile) as error:
                    raise DataCorrupt(f"{path}: {name} is absent or damaged ({error})") from error
                if not content.startswith(header) or len(content) != len(header) + HEIGHT * WIDTH:
                    raise DataCorrupt(f"{path}: {name} is no {WIDTH}x{HEIGHT} gray PGM of bytes ({len(content):,} bytes)")
                x[i, j] = np.frombuffer(content, np.uint8, offset=len(header)).reshape(HEIGHT, WIDTH)
    return x


def _split(x: NDArray[np.uint8]) -> Arrays:
    held = [number - 1 for number in HELD_OUT]
    kept = [j for j in range(PICTURES) if j not in held]
    arrays: Arrays = {}
    for split, chosen in (("train", kept), ("test", held)):
        # Picture by picture, people in turn, so that a strided subset holds everybody about equally often.
        arrays[f"x_{split}"] = x[:, chosen].swapaxes(0, 1).reshape(-1, HEIGHT, WIDTH)
        arrays[f"y_{split}"] = np.tile(np.arange(len(x), dtype=np.uint8), len(chosen))
    return arrays


__all__ = ["CLASSES", "HELD_OUT", "PEOPLE", "load", "read"]
