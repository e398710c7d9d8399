"""Location-30: every place in its column, groups counted from 0, damaged archives named."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from labkit.data import DataCorrupt, DataMissing, card, fake, load, location30


def archive(path: Path, text: str, name: str = "bangkok") -> Path:
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(entry, io.BytesIO(text.encode()))
    return path


def line(group: int, *visited: int) -> str:
    return f'"{group}",' + ",".join("1" if place in visited else "0" for place in range(446)) + "\n"


def test_a_record_is_read(tmp_path: Path) -> None:
    x, y = location30.read(archive(tmp_path / "a.tgz", line(30, 0, 445) + line(1)))
    assert y.tolist() == [29, 0]
    assert np.flatnonzero(x[0]).tolist() == [0, 445]
    assert x.dtype == np.float32
    assert not x[1].any()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (line(31), "groups 31 to 31, expected 1 to 30"),
        (line(0), "groups 0 to 0"),
        (line(3).replace("0\n", "2\n"), "places 0 to 2, expected 0 or 1"),
        ('"3",0,1\n', "3 numbers in a line, expected a group and 446 places"),
        ('"3",north\n', "cannot be read"),
    ],
)
def test_what_is_no_record_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(DataCorrupt, match=named):
        location30.read(archive(tmp_path / "a.tgz", text))


def test_other_archives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataCorrupt, match="cannot be read"):
        location30.read(archive(tmp_path / "a.tgz", line(1), name="istanbul"))
    (tmp_path / "b.tgz").write_bytes(b"<html>")
    with pytest.raises(DataCorrupt, match="cannot be read"):
        location30.read(tmp_path / "b.tgz")


def test_the_split_is_stratified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.write_location30(tmp_path / "a.tgz")
    monkeypatch.setattr(location30, "brought", lambda *_: tmp_path / "a.tgz")
    dataset = load("location30")
    assert (len(dataset.train), len(dataset.test)) == (162, 78)  # of forty people of a group, numbers 2, 5, ... 38 are test
    assert dataset.test.y.bincount(minlength=30).tolist() == [13, 0, 0, 0, 0] * 6
    everyone = np.concatenate([dataset.train.x.numpy(), dataset.test.x.numpy()])
    assert len(np.unique(everyone, axis=0)) == 240


def test_where_it_can_be_had_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "none"))
    with pytest.raises(DataMissing, match="privacytrustlab/datasets"):
        load("location30")
    assert "3,338 train and 1,672 test" in card("location30")
