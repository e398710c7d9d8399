from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from labkit.data import DataCorrupt, DataTruncated, verify
from labkit.data.verify import Verified

GOOD = b"what was published" * 10
SUM = hashlib.md5(GOOD).hexdigest()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    seen: list[Path] = []
    original = verify.digest_of
    monkeypatch.setattr(verify, "digest_of", lambda path, algorithm: seen.append(path) or original(path, algorithm))
    return seen


def test_a_checksum_is_computed_once_until_the_file_changes(tmp_path: Path, counted: list[Path]) -> None:
    path = tmp_path / "file"
    path.write_bytes(GOOD)
    for _ in range(3):
        Verified().check(path, "md5", SUM)
    assert len(counted) == 1
    os.utime(path, (1, 1))
    Verified().check(path, "md5", SUM)
    assert len(counted) == 2
    with pytest.raises(DataCorrupt):
        Verified().check(path, "md5", "0" * 32)  # another expectation is not covered by the memory


def test_errors_name_both_checksums_and_tell_truncated_from_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(GOOD[:-1])
    with pytest.raises(DataTruncated, match=f"179 of 180 bytes.*expected {SUM}, observed {hashlib.md5(GOOD[:-1]).hexdigest()}.*Get it"):
        Verified().check(path, "md5", SUM, size=len(GOOD), remedy="Get it again")
    path.write_bytes(GOOD[:-1] + b"?")
    with pytest.raises(DataCorrupt, match=f"is corrupt: md5 expected {SUM}") as caught:
        Verified().check(path, "md5", SUM, size=len(GOOD))
    assert not isinstance(caught.value, DataTruncated)


def test_a_damaged_memory_is_only_forgotten(tmp_path: Path, counted: list[Path]) -> None:
    path = tmp_path / "file"
    path.write_bytes(GOOD)
    Verified().check(path, "md5", SUM)
    (tmp_path / "cache" / "data" / "verified.json").write_text("[1, 2")
    Verified().check(path, "md5", SUM)
    assert len(counted) == 2


def test_nothing_is_remembered_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(GOOD)
    Verified(remember=False).check(path, "md5", SUM)
    assert not (tmp_path / "cache" / "data" / "verified.json").exists()
