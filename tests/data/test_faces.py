"""Faces: the same twenty people in every picture, told apart by a simple reader, though not always."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from labkit.data import faces


def test_people_stay_themselves_and_pictures_differ() -> None:
    assert faces.person(3) == faces.person(3) != faces.person(4)
    one, again, other = (faces.picture(faces.person(3), np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert one.shape == (32, 32)
    assert one.dtype == np.uint8
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    with pytest.raises(ValueError, match=r"20 people.*asked for 20"):
        faces.person(20)


def test_the_splits_hold_everybody_equally_often() -> None:
    data = faces.load(smoke=True)
    assert data.train.x.shape == (64, 1, 32, 32)
    arrays = faces.draw({"train": 3}, seed=0)
    assert np.bincount(arrays["y_train"]).tolist() == [3] * 20
    assert np.array_equal(arrays["x_train"], faces.draw({"train": 3}, seed=0)["x_train"])
    assert not np.array_equal(arrays["x_train"], faces.draw({"train": 3}, seed=1)["x_train"])


def test_a_linear_reader_knows_most_of_them() -> None:
    arrays = faces.draw({"train": 16, "test": 5}, seed=0)
    flat = {name: x.reshape(len(x), -1) / 255 for name, x in arrays.items() if name[0] == "x"}
    reader = LogisticRegression(max_iter=300).fit(flat["x_train"], arrays["y_train"])
    assert 0.6 < reader.score(flat["x_test"], arrays["y_test"]) < 1.0


def test_strangers_are_other_people_by_the_same_law() -> None:
    twenty = {faces.person(i) for i in range(20)}
    assert faces.stranger(3) == faces.stranger(3)
    assert not twenty & {faces.stranger(i) for i in range(40)}
    public = faces.strangers(6, 2)
    assert public.x.shape == (12, 1, 32, 32)
    assert public.y.tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert public.role == "shadow"
    assert public.fingerprint == faces.strangers(6, 2).fingerprint != faces.strangers(6, 2, seed=1).fingerprint
    with pytest.raises(ValueError, match="got 0 and 3"):
        faces.strangers(0, 3)
