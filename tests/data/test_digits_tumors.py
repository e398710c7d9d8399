from __future__ import annotations

import pytest
import torch

from labkit.data import load


@pytest.mark.parametrize(("name", "whole"), [("digits", 1797), ("tumors", 569)])
def test_splits_are_disjoint_stratified_and_fixed(name: str, whole: int) -> None:
    dataset = load(name)
    assert len(dataset.train) + len(dataset.test) == whole
    rows = torch.cat([dataset.train.x, dataset.test.x]).flatten(1).double()
    assert len(torch.unique(rows, dim=0)) == whole, "no sample stands in both splits"
    shares = [split.y.bincount() / len(split) for split in (dataset.train, dataset.test)]
    assert (shares[0] - shares[1]).abs().max() < 0.01
    assert load(name, seed=7).fingerprint == dataset.fingerprint


def test_digits_are_counts_of_ink_over_sixteen() -> None:
    x = load("digits").train.x
    assert x.shape[1:] == (1, 8, 8)
    assert torch.equal(x * 16, (x * 16).round())
    assert x.max() == 1


def test_tumors_are_scaled_by_the_training_split_alone() -> None:
    from sklearn.datasets import load_breast_cancer

    dataset = load("tumors")
    assert torch.all(dataset.train.x.amin(0) == 0)
    assert torch.all(dataset.train.x.amax(0) == 1)
    assert dataset.test.x.min() >= 0
    assert dataset.test.x.max() <= 1
    assert list(dataset.features) == list(load_breast_cancer().feature_names)
    assert dataset.classes == ("malignant", "benign")
    assert dataset.train.y.bincount().tolist()[1] > dataset.train.y.bincount().tolist()[0]
