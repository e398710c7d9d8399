"""Data sets that the course can read but not download: the reader brings the file, and is told which one and where to."""

from __future__ import annotations

from pathlib import Path

from labkit.data.cards import CARDS
from labkit.data.errors import DataMissing
from labkit.data.verify import Known, Verified
from labkit.files import data_dir


def brought(name: str, path: str, known: Known, origin: str) -> Path:
    """Return where the file ``path`` of data set ``name`` lies in ``LABKIT_DATA``, its checksum verified.

    Raises DataMissing, which says where the file can be had (``origin``), DataTruncated or DataCorrupt.
    """
    place = data_dir() / path
    if not place.is_file():
        raise DataMissing(
            f"{CARDS[name].title} is not on this machine: there is no {path} in {data_dir()}. The course does not download it "
            f"({known.size / 1e6:.1f} MB): get it from {origin}, and put it there, or set LABKIT_DATA to a folder that has it. "
            f'PROFILE="quick" needs none of the papers\' data.'
        )
    Verified().check(place, "md5", known.md5, size=known.size, remedy=f"Delete it and get it again from {origin}.")
    return place
