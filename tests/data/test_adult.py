"""Adult: every value in its column, numbers scaled by the training split, damaged files named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from labkit.data import DataCorrupt, DataTruncated, adult, fake, load

ROW = "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, United-States, <=50K"


@pytest.fixture
def files(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    known = fake.write_adult(data / "adult")
    monkeypatch.setattr(adult, "known_files", lambda _name: known)
    return data / "adult"


def test_a_record_is_read() -> None:
    read, income = adult.parse("|1x3 Cross validator\n" + ROW + ".\n\n", "toy")
    assert income.tolist() == [0]
    assert {name: int(column[0]) for name, column in read.items() if not adult.ATTRIBUTES[name]} == {
        "age": 39, "fnlwgt": 77516, "education-num": 13, "capital-gain": 2174, "capital-loss": 0, "hours-per-week": 40,
    }  # fmt: skip
    assert adult.ATTRIBUTES["native-country"][int(read["native-country"][0])] == "United-States"
    assert adult.parse(ROW.replace("<=", ">"), "toy")[1].tolist() == [1]


@pytest.mark.parametrize(("old", "new", "named"), [("Male", "male", "'sex'"), ("39", "old", "'age'"), ("<=50K", "50K", "'income'")])
def test_a_strange_value_is_named(old: str, new: str, named: str) -> None:
    with pytest.raises(DataCorrupt, match=f"{new}.* is no value of {named}"):
        adult.parse(ROW.replace(old, new), "toy")
    with pytest.raises(DataCorrupt, match="no record of 15 fields"):
        adult.parse("<html>", "toy")


def test_columns_and_features_agree(files: Path) -> None:
    dataset, places = load("adult"), adult.columns()
    assert dataset.train.x.shape == (64, 108) == (64, len(dataset.features))
    for name, place in places.items():
        assert all(feature.split("=")[0] == name for feature in dataset.features[place])
        block = dataset.test.x[:, place]
        if adult.ATTRIBUTES[name]:
            assert block.sum(1).tolist() == [1.0] * 64
        else:
            assert float(dataset.train.x[:, place].min()) == 0
            assert float(dataset.train.x[:, place].max()) == 1
    assert dataset.features[places["sex"]] == ("sex=Female", "sex=Male")
    raw, _ = adult.parse((files / "adult.test").read_text(), "toy")
    assert dataset.test.x[:, places["sex"]].argmax(1).tolist() == raw["sex"].tolist()
    train, _ = adult.parse((files / "adult.data").read_text(), "toy")
    low, high = train["age"].min(), train["age"].max()
    expected = ((raw["age"] - low) / (high - low)).clip(0, 1)
    assert dataset.test.x[:, 0].tolist() == pytest.approx(expected.tolist())


def test_packed_and_plain_files_give_the_same(files: Path) -> None:
    plain = load("adult")
    for path in list(files.iterdir()):
        (files / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert load("adult").fingerprint == plain.fingerprint
    packed = files / "adult.data.gz"
    packed.write_bytes(packed.read_bytes()[:300])
    with pytest.raises(DataTruncated, match=r"adult\.data\.gz is truncated.*labkit data get adult"):
        load("adult")


def test_damage_is_named(files: Path) -> None:
    path = files / "adult.test"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Female", b"Male  "))
    with pytest.raises(DataCorrupt, match=r"adult\.test is corrupt: .* with md5 \w{32}, expected"):
        load("adult")
    path.write_bytes(content[:-40])
    with pytest.raises(DataTruncated, match=r"adult\.test is truncated"):
        load("adult")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no adult/adult\.test"):
        load("adult")


def test_the_real_adult(real: Path) -> None:
    if not (real / "adult").is_dir():
        pytest.skip("no Adult in LABKIT_DATA")
    dataset = load("adult")
    assert (len(dataset.train), len(dataset.test)) == (32_561, 16_281)
    assert (int(dataset.train.y.sum()), int(dataset.test.y.sum())) == (7_841, 3_846)
    assert bool((dataset.train.x.sum(0) > 0).all()), "a column of the training split is empty"
