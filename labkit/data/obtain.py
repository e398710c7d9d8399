"""``labkit data get``: download a paper's data set into ``LABKIT_DATA`` and lay it out as torchvision does."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

from labkit.data.cifar10 import BATCH_FOLDER, KNOWN_BATCHES
from labkit.data.download import Patience, bar, fetch
from labkit.data.errors import DataCorrupt
from labkit.data.sources import SOURCES, total_size
from labkit.data.verify import Known, Verified
from labkit.files import atomic_path, data_dir


def obtain(name: str, *, patience: Patience | None = None, tell: Callable[[str], None]) -> Path:
    """Download what is not there yet of ``mnist``, ``fashion_mnist``, ``cifar10`` or ``gtsrb``; return the folder.

    ``tell`` is given one line before the first byte moves: how much, and to where. Raises ValueError for a set that
    cannot be downloaded, DownloadFailed, or OSError when the disk is too full or the folder read-only.
    """
    if name not in SOURCES:
        raise ValueError(f"{name!r} is not a data set to download; these are: {', '.join(SOURCES)}")
    root, files = data_dir(), SOURCES[name]
    absent = [source for source in files if not (root / source.path).is_file()]
    need = sum(source.known.size for source in absent)
    told = f"{need / 1e6:.1f} MB to download" if absent else "all files are there; checking them"
    tell(f"{name}: {len(files)} file{'s' if len(files) > 1 else ''}, {total_size(name) / 1e6:.1f} MB, in {root}: {told}")
    _require_space(root, need)
    for source in files:
        with bar(source.known.size, Path(source.path).name) as shown:
            fetch(source.urls, root / source.path, source.known, patience=patience, advance=shown.update)
    if name == "cifar10":
        unpack_batches(root / SOURCES["cifar10"][0].path, root / BATCH_FOLDER, KNOWN_BATCHES)
    return root


def _require_space(root: Path, need: int) -> None:
    folder = next(parent for parent in (root, *root.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < need:
        raise OSError(28, f"{need / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free in {folder}; nothing was downloaded")


def unpack_batches(archive: Path, folder: Path, known: dict[str, Known]) -> None:
    """Write the six batches out of the archive, each verified and in one step; nothing else in it is touched."""
    with tarfile.open(archive, "r:gz") as tar:
        for name, facts in known.items():
            member = tar.extractfile(f"{BATCH_FOLDER}/{name}")
            if member is None:
                raise DataCorrupt(f"{archive} has no file {BATCH_FOLDER}/{name}")
            with atomic_path(folder / name) as temporary:
                with open(temporary, "wb") as file:
                    shutil.copyfileobj(member, file, 1 << 20)
                Verified(remember=False).check(temporary, "md5", facts.md5, size=facts.size)
