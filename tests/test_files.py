"""Files: nothing half-written, locks, names by content, places."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from labkit import files


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_written_as_given(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "a.txt"
    files.write_text(path, "ä\n")
    assert path.read_bytes() == b"\xc3\xa4\n"
    files.write_json(path, {"b": 1, "a": "ö"})
    assert path.read_text(encoding="utf-8") == '{\n "a": "ö",\n "b": 1\n}\n'
    files.write_bytes(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert left(path.parent) == ["a.txt"]
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_exception_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), files.atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_bytes(b"half")
        assert path.read_bytes() == b"old"
        assert temporary.parent == path.parent  # another disk could not be replaced from in one step
        raise error
    assert path.read_bytes() == b"old"
    assert left(tmp_path) == ["a.bin"]


def no_space(*arguments: Any, **options: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_on_write(patch: pytest.MonkeyPatch) -> None:
    true = open

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *error: Any) -> None:
            self.file.close()

        def write(self, content: bytes) -> int:
            self.file.write(content[:1])
            return int(no_space())

    patch.setattr(files, "open", lambda path, mode: Full(true(path, mode)), raising=False)


FULL: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "write": full_on_write,
    "fsync": lambda patch: patch.setattr(os, "fsync", no_space),
    "replace": lambda patch: patch.setattr(os, "replace", no_space),
    "create": lambda patch: patch.setattr(tempfile, "mkstemp", no_space),
}


@pytest.mark.parametrize("where", list(FULL))
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    FULL[where](monkeypatch)
    with pytest.raises(OSError, match=r"disk is full \(\d+ MB free\).*a\.bin.*nothing was changed") as caught:
        files.write_bytes(path, b"new content")
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert left(tmp_path) == ["a.bin"]


def test_other_errors_of_the_system_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(PermissionError, match="denied"):
        files.write_text(tmp_path / "a", "b")
    assert left(tmp_path) == []


def test_what_cannot_be_written_as_json_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, [1])
    with pytest.raises(TypeError):
        files.write_json(path, [1, object()])
    assert json.loads(path.read_text()) == [1]


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert files.sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_fingerprints_tell_contents_apart() -> None:
    x = torch.arange(6.0)
    parts: list[tuple[Any, ...]] = [
        (x,),
        (x + 1e-6,),
        (x.view(2, 3),),
        (x.view(3, 2),),
        (x.double(),),
        (x.to(torch.bfloat16),),
        (x > 2,),
        (x[:0],),
        (x.flip(0),),
        (x.sum(),),
        (1,),
        ("1",),
        (1.5,),
        (None,),
        (True,),
        ([1, 2],),
        ([2, 1],),
        (1, 2),
        (12,),
        ({"a": 1},),
        ({"a": 2},),
        (b"a",),
        (b"b",),
        (b"a", b"b"),
        (b"ab",),
        (),
    ]
    names = [files.fingerprint(*part) for part in parts]
    assert len(set(names)) == len(names)
    assert all(len(name) == 16 and set(name) <= set("0123456789abcdef") for name in names)


def test_fingerprints_see_the_content_only() -> None:
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    name = files.fingerprint(x)
    assert files.fingerprint(x.t().contiguous().t()) == name  # another order in memory
    assert files.fingerprint(x.clone().requires_grad_(True)) == name
    assert files.fingerprint({"a": 1, "b": 2}) == files.fingerprint({"b": 2, "a": 1})
    assert files.fingerprint("ä", 1) == files.fingerprint("ä", 1)
    with pytest.raises(TypeError):
        files.fingerprint(object())


def _hold(path: Path, held: Any, leave: Any) -> None:
    with files.lock(path):
        held.set()
        leave.wait(60)


def test_a_lock_keeps_other_processes_out(tmp_path: Path) -> None:
    import filelock

    path, context = tmp_path / "sub" / "model", multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    held, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(path, held, leave))
    other.start()
    try:
        assert held.wait(60)
        mine: Any = files.lock(path)
        with pytest.raises(filelock.Timeout):
            mine.acquire(timeout=0)
        leave.set()
        with mine:
            pass
    finally:
        leave.set()
        other.join(60)
    assert other.exitcode == 0


def test_without_the_lock_library_nothing_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "filelock", None)
    with files.lock(tmp_path / "a"), files.lock(tmp_path / "a"):
        pass


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_ROOT", str(tmp_path))
    monkeypatch.delenv("LABKIT_CACHE", raising=False)
    assert files.project_root() == tmp_path.resolve()
    assert files.cache_dir("models", "a") == tmp_path.resolve() / "data" / "cache" / "models" / "a"
    assert (tmp_path / "data" / "cache" / "models" / "a").is_dir()
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "elsewhere"))
    assert files.cache_dir() == tmp_path / "elsewhere"
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data sets"))
    assert files.data_dir() == tmp_path / "data sets"
    assert not files.data_dir().exists()  # never created unasked
    monkeypatch.delenv("LABKIT_DATA")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert files.data_dir() == tmp_path / "x" / "labkit" / "data"


def test_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LABKIT_ROOT", "LABKIT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site-packages" / "labkit" / "files.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(files.ProjectNotFound, match="LABKIT_ROOT"):
        files.project_root()
    assert files.cache_dir("models") == tmp_path / "x" / "labkit" / "models"
    (tmp_path / "chapters").mkdir()
    (tmp_path / "labkit").mkdir()
    (tmp_path / "chapters" / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "chapters" / "deep")
    assert files.project_root() == tmp_path
