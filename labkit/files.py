"""Where files live, and how they are written so that nothing is ever half-written or silently wrong."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any


class ProjectNotFound(RuntimeError):
    """labkit runs outside a checkout of the course, and was asked for something only a checkout has."""


def project_root() -> Path:
    """Return the folder that holds ``chapters/`` and ``labkit/``.

    ``LABKIT_ROOT`` overrides it; otherwise it is the checkout that labkit was installed from, else the nearest
    parent of the working directory that looks like one. Raises ProjectNotFound when there is none.
    """
    if override := os.environ.get("LABKIT_ROOT"):
        return Path(override).expanduser().resolve()
    here = Path(__file__).resolve().parent.parent
    for folder in (here, Path.cwd(), *Path.cwd().parents):
        if (folder / "chapters").is_dir() and (folder / "labkit").is_dir():
            return folder
    raise ProjectNotFound("no checkout of the course found above the working directory; set LABKIT_ROOT to its folder")


def _user_cache() -> Path:
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "labkit"


def cache_dir(*parts: str) -> Path:
    """Return (and create) the folder of things that can be rebuilt: embedded data and trained models.

    ``LABKIT_CACHE`` if set, else ``data/cache`` of the checkout, else the user's cache folder.
    """
    if override := os.environ.get("LABKIT_CACHE"):
        base = Path(override).expanduser()
    else:
        try:
            base = project_root() / "data" / "cache"
        except ProjectNotFound:
            base = _user_cache()
    folder = base.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def data_dir() -> Path:
    """Return the folder of the papers' data sets: ``LABKIT_DATA``, else the user's cache folder.

    It may be read-only: labkit writes there only when the user asks for a download.
    """
    if override := os.environ.get("LABKIT_DATA"):
        return Path(override).expanduser()
    return _user_cache() / "data"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path`` in one step, on failure it is removed.

    Raises OSError with the folder's free space in its text when the disk is full.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(path.parent).free / 1e6
            raise OSError(errno.ENOSPC, f"the disk is full ({free:.0f} MB free): could not write {path}; nothing was changed") from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path, content: str) -> None:
    """Write ``content`` to ``path`` atomically, as UTF-8 with Unix line ends."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as readable JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(*parts: Any) -> str:
    """Return 16 hexadecimal digits that name JSON-able values, bytes, or tensors by their content."""
    digest = hashlib.sha256()
    for part in parts:
        if hasattr(part, "detach"):  # a tensor: shape and type count, as well as the numbers
            import torch

            tensor = part.detach().cpu().contiguous()
            digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())  # as bytes: NumPy has no bfloat16
        elif isinstance(part, bytes):
            digest.update(part)
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
        digest.update(b"\x00")
    return digest.hexdigest()[:16]


def lock(path: Path) -> AbstractContextManager[Any]:
    """Return a lock between processes for building ``path``: the first builds, the others wait and then read.

    Without the filelock library (a plain run) nothing is locked: two processes may then build the same thing twice, which is slow
    and harmless, for what is written is written in one step.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        from filelock import FileLock
    except ImportError:
        return nullcontext()
    return FileLock(str(path) + ".lock")
