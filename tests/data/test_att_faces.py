"""AT&T faces: the archive as it is packed, who is test, and what is said when it is not the right one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from labkit.data import DataCorrupt, DataMissing, att_faces, fake, load


@pytest.fixture
def archive(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = data / "att_faces"
    folder.mkdir()
    path = fake.write_att_faces(folder)
    monkeypatch.setattr(att_faces, "KNOWN", fake._known(folder, [path.name])[path.name])
    return path


def test_everybody_has_seven_pictures_to_train_and_three_held_out(archive: Path) -> None:
    dataset = load("att_faces")
    assert dataset.train.x.shape == (266, 1, 112, 92)
    assert dataset.test.x.shape == (114, 1, 112, 92)
    assert np.bincount(dataset.train.y).tolist() == [7] * 38
    assert np.bincount(dataset.test.y).tolist() == [3] * 38
    assert (dataset.classes[0], dataset.classes[-1]) == ("s3", "s40")


def test_the_held_out_pictures_are_those_named(archive: Path) -> None:
    x, dataset = att_faces.read(archive), load("att_faces")
    of_ninth = dataset.test.x[dataset.test.y == 9] * 255
    assert [np.array_equal(of_ninth[k, 0].round().numpy(), x[9, number - 1]) for k, number in enumerate((2, 5, 8))] == [True] * 3
    kept = {picture.tobytes() for picture in x[:, [0, 2, 3, 5, 6, 8, 9]].reshape(-1, 112, 92)}
    assert {(picture * 255).round().byte().numpy().tobytes() for picture in dataset.train.x} == kept


def test_another_archive_is_refused(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("extra", b"x")
    with pytest.raises(DataCorrupt, match="md5 expected"):
        load("att_faces")


def test_a_picture_of_another_size_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "small.zip", "w") as file:
        file.writestr("att_faces/s3/1.pgm", b"P5\n2 2\n255\n....")
    with pytest.raises(DataCorrupt, match=r"s3/1\.pgm is no 92x112 gray PGM"):
        att_faces.read(tmp_path / "small.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(DataCorrupt, match=r"s3/1\.pgm is absent"):
        att_faces.read(tmp_path / "empty.zip")


def test_who_does_not_have_it_is_told_what_to_bring(data: Path) -> None:
    with pytest.raises(DataMissing, match=r"no att_faces/att_faces\.zip.*s3 to s40"):
        load("att_faces")


def test_the_real_archive(real: Path) -> None:
    if not (real / att_faces.PATH).is_file():
        pytest.skip("no AT&T faces in LABKIT_DATA")
    dataset = load("att_faces")
    assert (len(dataset.train), len(dataset.test)) == (266, 114)
    own = dataset.train.x[dataset.train.y == 4].flatten(1)
    assert (own - own.mean(0)).norm(dim=1).mean() < (dataset.train.x.flatten(1) - own.mean(0)).norm(dim=1).mean()
