from __future__ import annotations

import csv
import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from labkit.data import DataCorrupt, DataTruncated, batches, cifar10, fake, load
from labkit.data.sheets import pack, unpack
from labkit.data.verify import Verified


def test_a_python2_batch_is_what_python_reads_too() -> None:
    x, y = fake.samples("train", (32, 32, 3), 10)
    content = fake.python2_batch(x, y)
    theirs = pickle.loads(content, encoding="latin1")  # made here, so trusted
    assert theirs["labels"] == y.tolist()
    assert theirs["data"].shape == (64, 3072)
    images, labels = batches.parse(content, "toy")
    assert np.array_equal(images, x)
    assert np.array_equal(labels, y)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("owned",)


@pytest.mark.parametrize("content", [pickle.dumps(Evil()), pickle.dumps({"data": Evil(), "labels": []}, protocol=0)])
def test_a_pickle_that_runs_code_is_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataCorrupt, match="mkdir, which no batch of images needs"):
        batches.parse(content, "toy")
    assert not (tmp_path / "owned").exists()
    pickle.loads(content)
    assert (tmp_path / "owned").exists(), "the pickle would have done it"


def test_damaged_batches_are_told_apart() -> None:
    content = fake.python2_batch(*fake.samples("test", (32, 32, 3), 10))
    for cut in (10, 5000, len(content) - 1):
        with pytest.raises(DataTruncated, match="toy is truncated"):
            batches.parse(content[:cut], "toy")
    for other in (b"not a pickle", pickle.dumps([1]), pickle.dumps({"data": 1, "labels": []})):
        with pytest.raises(DataCorrupt, match="toy"):
            batches.parse(other, "toy")
    with pytest.raises(DataCorrupt, match="numbers from 0 to 9"):
        batches.parse(content.replace(b"K\x09", b"K\x0a", 1), "toy")


def test_sheets_are_lossless(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (103, 32, 32, 3), dtype=np.uint8)
    pack(x, tmp_path / "sheet.webp")
    assert np.array_equal(unpack(tmp_path / "sheet.webp", 103), x)
    with pytest.raises(DataTruncated, match="has 200 tiles; its table lists 201"):
        unpack(tmp_path / "sheet.webp", 201)
    (tmp_path / "sheet.webp").write_bytes((tmp_path / "sheet.webp").read_bytes()[:500])
    with pytest.raises(DataCorrupt, match="cannot be decoded"):
        unpack(tmp_path / "sheet.webp", 103)


def write_sheets(folder: Path) -> None:
    folder.mkdir(parents=True)
    x, y = fake.samples("train", (32, 32, 3), 10)
    parts = dict(zip(cifar10.BATCHES, zip(np.array_split(x, 5), np.array_split(y, 5), strict=True), strict=False))
    parts["test_batch"] = fake.samples("test", (32, 32, 3), 10)
    with gzip.open(folder / "labels.csv.gz", "wt", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["batch", "index", "label", "filename"])
        for name, (images, labels) in parts.items():
            pack(images, folder / f"{name}.webp")
            rows.writerows([name, i, int(label), "x.png"] for i, label in enumerate(labels))


def test_both_layouts_give_the_same_and_sheets_are_decoded_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sheets(data / "cifar-10")
    monkeypatch.setattr(cifar10, "KNOWN_SHEETS", fake._known(data / "cifar-10", sorted(os.listdir(data / "cifar-10"))))
    from_sheets = load("cifar10")
    monkeypatch.setattr(cifar10, "read_sheets", lambda _folder: pytest.fail("decoded again"))
    assert load("cifar10").fingerprint == from_sheets.fingerprint == load("cifar10", smoke=True).fingerprint
    known = fake.write_batches(data / "cifar-10-batches-py")
    monkeypatch.setattr(cifar10, "KNOWN_BATCHES", known)
    assert load("cifar10").fingerprint == from_sheets.fingerprint
    (data / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match="no cifar-10-batches-py/data_batch_3"):
        load("cifar10")


def test_a_table_out_of_order_is_refused(data: Path) -> None:
    write_sheets(data / "cifar-10")
    table = data / "cifar-10" / "labels.csv.gz"
    text = gzip.decompress(table.read_bytes()).decode().replace("data_batch_1,3,", "data_batch_1,4,")
    table.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(DataCorrupt, match="out of order or range"):
        cifar10.read_sheets(data / "cifar-10")


def test_files_are_verified_before_they_are_read(data: Path) -> None:
    known = fake.write_batches(data / "cifar-10-batches-py")
    path = data / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(DataCorrupt, match=r"test_batch is corrupt: md5 expected"):
        cifar10.read_batches(path.parent, known, Verified())
