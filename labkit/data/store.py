"""Arrays that can be rebuilt, cached as one uncompressed .npz file with its checksum in a file beside it."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labkit.data.verify import Verified
from labkit.files import atomic_path, cache_dir, lock, sha256_of, write_json

Arrays = dict[str, NDArray[np.uint8]]
_log = logging.getLogger(__name__)


def cached(key: str, build: Callable[[], Arrays], *, folder: Path | None = None) -> Arrays:
    """Return ``build()``, kept under ``key`` in ``cache_dir("data")``; ``key`` holds the format's version.

    Two processes never build the same key at once: the second waits and reads. A file that is truncated or changed is
    reported through logging and built again. A cache that cannot be written (full disk, read-only) costs time, not the result.
    """
    try:
        path = (folder or cache_dir("data")) / f"{key}.npz"
        if (arrays := read(path)) is not None:
            return arrays
        stack = ExitStack()
        stack.enter_context(lock(path))
    except OSError as error:
        _log.warning("the data cache cannot be used (%s); building %s in memory, to be built again next time", error, key)
        return build()
    with stack:
        if (arrays := read(path)) is not None:  # another process built it meanwhile
            return arrays
        arrays = build()
        try:
            _write(path, arrays)
        except OSError as error:
            _log.warning("built %s, but could not keep it in the cache, so it will be built again next time (%s)", key, error)
        return arrays


def read(path: Path) -> Arrays | None:
    """Return the arrays of a cache file, or None (with a logged reason) when it is absent, damaged or without checksum."""
    if not path.is_file():
        return None
    try:
        expected = json.loads(sidecar(path).read_text(encoding="utf-8"))["sha256"]
        Verified().check(path, "sha256", expected)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, FileNotFoundError) as error:
        _log.warning("the cached data in %s is damaged and will be built again (%s)", path, error)
        return None


def sidecar(path: Path) -> Path:
    """Return the path of the checksum file that stands beside a cache file."""
    return path.with_name(path.name + ".json")


def _write(path: Path, arrays: Mapping[str, NDArray[np.uint8]]) -> None:
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        digest = sha256_of(temporary)
        shapes = {name: [str(array.dtype), *array.shape] for name, array in arrays.items()}
        # The checksum goes first: a crash between the two files leaves a pair that disagrees, which is built again.
        write_json(sidecar(path), {"sha256": digest, "arrays": shapes})
