from __future__ import annotations

import csv
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from labkit.data import DataCorrupt, fake, gtsrb, load
from labkit.data.sheets import pack


@pytest.fixture
def sheets(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = data / "gtsrb-32x32"
    folder.mkdir()
    for split in ("train", "test"):
        x, y = fake.samples(split, (32, 32, 3), 43)
        pack(x, folder / f"{split}.webp")
        with open(folder / f"{split}.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["index", "class", "width"])
            rows.writerows([i, int(label), 40] for i, label in enumerate(y))
    monkeypatch.setattr(gtsrb, "KNOWN_SHEETS", fake._known(folder, sorted(os.listdir(folder))))
    return folder


def test_sheets(sheets: Path) -> None:
    dataset = load("gtsrb")
    x, y = fake.samples("train", (32, 32, 3), 43)
    assert np.array_equal((dataset.train.x.permute(0, 2, 3, 1) * 255).round().numpy(), x)
    assert dataset.train.y.tolist() == y.tolist()
    assert len(dataset.classes) == len(set(dataset.classes)) == 43
    assert dataset.classes[14] == "stop"


def test_official_archives_go_before_sheets(sheets: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from_sheets = load("gtsrb")
    known = fake.write_gtsrb_archives(data / "gtsrb")
    monkeypatch.setattr(gtsrb, "known_files", lambda _name: known)
    official = load("gtsrb")
    assert official.fingerprint != from_sheets.fingerprint
    assert official.train.x.shape == official.test.x.shape == (64, 3, 32, 32)
    assert sorted(official.train.y.tolist()) == sorted(from_sheets.train.y.tolist())
    assert official.test.y.tolist() == from_sheets.test.y.tolist()


def test_a_picture_named_by_the_table_must_be_there(tmp_path: Path) -> None:
    fake.write_gtsrb_archives(tmp_path)
    with zipfile.ZipFile(tmp_path / gtsrb.TRUTH_ZIP, "w") as archive:
        archive.writestr("GT-final_test.csv", "Filename;ClassId\r\n99999.ppm;3\r\n")
    with pytest.raises(DataCorrupt, match=r"99999\.ppm is absent"):
        gtsrb.read_archives(tmp_path)


def test_the_real_packing(real: Path) -> None:
    if not (real / "gtsrb-32x32").is_dir() or (real / "gtsrb" / gtsrb.TRAIN_ZIP).is_file():
        pytest.skip("no GTSRB packing in LABKIT_DATA")
    dataset = load("gtsrb")
    assert (len(dataset.train), len(dataset.test)) == (13_070, 12_630)
    assert dataset.test.y[:2].tolist() == [16, 1]
    assert dataset.train.y.unique().numel() == 43
