"""NSL-KDD: read in its own layout, encoded as its schema says, and the real files where they are."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

from labkit.data import load
from labkit.data.errors import DataCorrupt, DataMissing
from labkit.data.fake import write_nsl_kdd
from labkit.data.nsl_kdd import COLUMNS, FAMILY, SCHEMA, encode, read

LINE = (
    "2,tcp,ftp_data,SF,12983,0"
    + ",0" * 16
    + ",1,1"
    + ",0.00" * 4
    + ",1.00,0.00,0.00,134,86,0.61,0.04,0.61,0.02,0.00,0.00,0.00,0.00,normal,21"
)


def test_a_line_becomes_a_record() -> None:
    x, y = encode([LINE.split(",")])
    columns = SCHEMA.decode(x)
    assert x.shape == (1, 122) == (1, len(SCHEMA))
    assert y.tolist() == [0]
    seen = {name: float(columns[name]) for name in ("duration", "src_bytes", "count", "dst_host_count", "dst_host_same_srv_rate")}
    assert seen == pytest.approx(
        {"duration": 2, "src_bytes": 12983, "count": 1, "dst_host_count": 134, "dst_host_same_srv_rate": 0.61}, rel=1e-4
    )
    marked = [name for name in SCHEMA.names if "=" in name and float(columns[name]) > 0.5]
    assert marked == ["protocol_type=tcp", "service=ftp_data", "flag=SF"]
    assert SCHEMA.violations(x) == {}


def test_families_and_columns() -> None:
    assert len(COLUMNS) == 41
    assert len(FAMILY) == 40
    assert [FAMILY[name] for name in ("normal", "neptune", "satan", "guess_passwd", "rootkit")] == [0, 1, 2, 3, 4]


def test_other_files_are_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(DataMissing, match=r"no nsl-kdd/KDDTrain\+.txt"):
        load("nsl_kdd")
    paths = write_nsl_kdd(tmp_path)
    assert len(read(paths["train"])) == 64
    paths["train"].write_bytes(gzip.compress(b"1,2,3\n"))
    with pytest.raises(DataCorrupt, match="line 1: expected 43 cells"):
        read(paths["train"])
    paths["train"].write_bytes(b"no archive")
    with pytest.raises(DataCorrupt, match="no table"):
        read(paths["train"])
    with pytest.raises(DataCorrupt, match="unknown value 'quic'"):
        encode([LINE.replace("tcp", "quic").split(",")])


def test_the_real_files(real: Path) -> None:
    dataset = load("nsl_kdd", size=2000)
    assert load("nsl_kdd", smoke=True).train.x.shape == (64, 122)
    assert len(dataset.train) == 2000
    assert SCHEMA.violations(dataset.train.x) == {}
    assert 0.5 < float((dataset.train.y == 0).float().mean()) < 0.57
    assert bool((dataset.train.x[:, [i for i, name in enumerate(SCHEMA.names) if name.startswith("service=")]].sum(1) == 1).all())
    assert torch.isfinite(dataset.test.x).all()
