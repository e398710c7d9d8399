"""Progress: kept atomically, between processes, in the learner's folder alone; a damaged file is moved aside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.course import progress


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_WORK", str(tmp_path))
    return tmp_path


def test_a_success_stays_a_success(folder: Path) -> None:
    for status in ("not attempted", "not yet", "passed", "not yet"):
        assert progress.note_check("10.1", status) == ""
    entry = progress.load(folder).exercises["10.1"]
    assert (entry.status, entry.attempts) == ("not yet", 3)
    assert progress.load(folder).passed("10.1")
    assert not progress.load(folder).passed("10.2")


def test_hints_count_the_highest(folder: Path) -> None:
    for number in (1, 2, 1):
        progress.note_hint("10.1", number)
    assert progress.load(folder).exercises["10.1"].hints == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"exercises": 3}',
        b'{"exercises": {"10.1": {}}}',
        b'{"exercises": {"10.1": {"status": "passed"',
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_file_is_kept_aside_and_said(folder: Path, content: bytes) -> None:
    (folder / ".progress.json").write_bytes(content)
    notice = progress.note_check("10.1", "passed")
    assert "damaged" in notice
    (aside,) = folder.glob(".progress.damaged-*.json")
    assert aside.name in notice
    assert aside.read_bytes() == content
    assert progress.load(folder).passed("10.1")
    assert progress.note_check("10.2", "passed") == ""


@given(content=st.binary(max_size=60))
def test_no_content_makes_loading_fail(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("work")
    (folder / ".progress.json").write_bytes(content)
    assert progress.load(folder).exercises == {}


def test_a_full_disk_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress.note_check("10.1", "passed")
    before = (folder / ".progress.json").read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk is full"):
        progress.note_check("10.2", "passed")
    assert (folder / ".progress.json").read_bytes() == before
    assert not list(folder.glob("*.part"))


def test_several_notebooks_may_write_at_once(folder: Path) -> None:
    code = (
        "import sys\nfrom labkit.course import progress\n"
        "for i in range(15): progress.note_check(f'10.{i}', 'passed'); progress.note_check(sys.argv[1], 'passed')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, f"2{i}.1"], env={**os.environ}) for i in range(3)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    exercises = progress.load(folder).exercises
    assert len(exercises) == 18
    assert all(exercises[f"10.{i}"].attempts == 3 for i in range(15))
    assert all(exercises[f"2{i}.1"].attempts == 15 for i in range(3))


def test_nothing_is_recorded_where_nobody_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_WORK", raising=False)
    monkeypatch.setenv("LABKIT_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert progress.recording() is None
    progress.note_check("10.1", "passed")
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_inside_the_copy_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work" / "attacks").mkdir(parents=True)
    monkeypatch.delenv("LABKIT_WORK", raising=False)
    monkeypatch.setenv("LABKIT_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path / "work" / "attacks")
    progress.note_check("10.1", "passed")
    assert json.loads((tmp_path / "work" / ".progress.json").read_text())["exercises"]["10.1"]["status"] == "passed"


def test_files_moved_aside_never_meet(tmp_path: Path) -> None:
    names = set()
    for i in range(4):
        path = tmp_path / "a.ipynb"
        path.write_text(str(i))
        names.add(progress.set_aside(path, "kept"))
    assert sorted(path.read_text() for path in names) == ["0", "1", "2", "3"]
