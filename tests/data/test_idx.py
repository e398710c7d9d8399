from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.data import DataCorrupt, DataTruncated, fake, idx, load, mnist
from labkit.data.verify import Verified


@given(shape=st.lists(st.integers(0, 6), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_parse_reads_what_the_format_says(shape: list[int], seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    content = b"\x00\x00\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()
    assert np.array_equal(idx.parse(content, "toy"), array)
    if array.size:
        with pytest.raises(DataTruncated, match="toy is truncated"):
            idx.parse(content[:-1], "toy")
    with pytest.raises(DataCorrupt, match="1 bytes more"):
        idx.parse(content + b"\x00", "toy")


@pytest.mark.parametrize("content", [b"", b"\x00\x00\x08", b"\x00\x00\x0d\x01" + b"\x00" * 8, b"<html>not found</html>"])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(DataCorrupt, match="is not an IDX file"):
        idx.parse(content, "toy")


@pytest.fixture
def files(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up MNIST in LABKIT_DATA, which the loader takes for the published one."""
    folder = data / "MNIST" / "raw"
    known = fake.write_idx(folder)
    monkeypatch.setattr(mnist, "known_files", lambda _name: known)
    monkeypatch.setattr(mnist, "UNPACKED", {})
    return folder


def test_packed_and_unpacked_files_give_the_same(files: Path) -> None:
    packed = load("mnist")
    x, y = fake.samples("test", (28, 28), 10)
    assert np.array_equal((packed.test.x[:, 0] * 255).round().numpy(), x)
    assert packed.test.y.tolist() == y.tolist()
    for path in list(files.glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert load("mnist").fingerprint == packed.fingerprint


def test_loading_works_from_a_read_only_folder_and_leaves_it_alone(files: Path) -> None:
    before = sorted(files.rglob("*"))
    for path in (files, files.parent):
        path.chmod(0o555)
    try:
        load("mnist")
    finally:
        for path in (files, files.parent):
            path.chmod(0o755)
    assert sorted(files.rglob("*")) == before


def test_a_missing_file_is_named(files: Path) -> None:
    (files / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"no MNIST/raw/t10k-labels-idx1-ubyte\.gz"):
        load("mnist")


def test_a_truncated_file_is_named_with_its_remedy(files: Path) -> None:
    path = files / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataTruncated, match=r"train-images-idx3-ubyte\.gz is truncated: 1,000 of .*labkit data get mnist"):
        load("mnist")


def test_a_corrupt_file_is_named_with_both_checksums(files: Path) -> None:
    load("mnist")  # it was fine once, and remembered so
    path = files / "train-labels-idx1-ubyte.gz"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataCorrupt, match=r"train-labels-idx1-ubyte\.gz is corrupt: md5 expected \w{32}, observed \w{32}"):
        load("mnist")


@pytest.mark.parametrize(("content", "error"), [(b"\x1f\x8b\x08\x00", DataTruncated), (b"plain text", DataCorrupt)])
def test_a_damaged_archive_without_known_checksum(content: bytes, error: type[Exception], files: Path) -> None:
    (files / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(error, match=r"train-images-idx3-ubyte\.gz"):
        idx.read("mnist", files.parents[1], "MNIST", {}, Verified())


def test_images_and_labels_of_different_length_are_refused(files: Path) -> None:
    header = b"\x00\x00\x08\x01" + struct.pack(">I", 3)
    (files / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + b"\x01\x02\x03"))
    with pytest.raises(DataCorrupt, match=r"train images have shape \(64, 28, 28\), labels \(3,\)"):
        idx.read("mnist", files.parents[1], "MNIST", {}, Verified())


def test_the_real_mnist(real: Path) -> None:
    if not (real / "MNIST").is_dir():
        pytest.skip("no MNIST in LABKIT_DATA")
    dataset = load("mnist")
    assert dataset.train.y.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert dataset.test.x.shape == (10_000, 1, 28, 28)
    assert dataset.test.y[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert abs(dataset.train.x.double().mean().item() - 0.1307) < 1e-4
