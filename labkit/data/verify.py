"""Checksums of published files, computed once and remembered for as long as a file's size and time stay the same."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from labkit.data.errors import DataCorrupt, DataTruncated
from labkit.files import cache_dir, write_json

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """What is known of a published file: its length in bytes (which words errors) and its MD5 (which decides)."""

    size: int
    md5: str


def digest_of(path: Path, algorithm: str) -> str:
    """Return a file's checksum, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


class Verified:
    """The memory of checksums: a small JSON file, which may be lost or read-only at no cost but time."""

    def __init__(self, *, remember: bool = True) -> None:
        try:
            self._path: Path | None = cache_dir("data") / "verified.json" if remember else None
        except OSError:
            self._path = None

    def check(self, path: Path, algorithm: str, expected: str, *, size: int | None = None, remedy: str = "") -> None:
        """Raise DataTruncated or DataCorrupt, naming both checksums, unless the file has the ``expected`` one."""
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns, f"{algorithm}:{expected}"]
        key = os.fspath(path.resolve())
        if self._load().get(key) == stamp:
            return
        observed = digest_of(path, algorithm)
        if observed != expected:
            facts = f"{algorithm} expected {expected}, observed {observed}; {status.st_size:,} bytes"
            if size is not None and status.st_size < size:
                raise DataTruncated(f"{path} is truncated: {status.st_size:,} of {size:,} bytes ({facts}). {remedy}".rstrip())
            raise DataCorrupt(f"{path} is corrupt: {facts}. {remedy}".rstrip())
        self._remember(key, stamp)

    def _load(self) -> dict[str, list[object]]:
        try:
            memory = json.loads(self._path.read_text(encoding="utf-8")) if self._path else {}
        except (OSError, ValueError):
            return {}
        return memory if isinstance(memory, dict) else {}

    def _remember(self, key: str, stamp: list[object]) -> None:
        if self._path is None:
            return
        # Without a lock: a line lost to another process is only computed again.
        memory = {name: old for name, old in self._load().items() if os.path.exists(name)} | {key: stamp}
        try:
            write_json(self._path, memory)
        except OSError as error:
            _log.debug("could not remember a checksum: %s", error)
