from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labkit.data import Split, WrongRole


def split(n: int = 10) -> Split:
    return Split(torch.arange(n, dtype=torch.float32)[:, None], torch.arange(n) % 3, "train", "toy train")


def test_a_wrong_role_is_an_error_that_says_what_is_wrong() -> None:
    poisoned = split().as_role("poisoned")
    with pytest.raises(WrongRole, match=r"a clean baseline needs a split with role train; 'toy train' has role 'poisoned'"):
        poisoned.require("train", purpose="a clean baseline")
    assert poisoned.require("train", "poisoned", purpose="training") is poisoned


def test_fingerprint_follows_content_and_role() -> None:
    one = split()
    assert one.fingerprint == split().fingerprint
    assert one.fingerprint != one.as_role("test").fingerprint
    changed = one.x.clone()
    changed[3] += 1e-6
    assert Split(changed, one.y, "train", "toy train").fingerprint != one.fingerprint
    assert Split(one.x.double(), one.y, "train", "toy train").fingerprint != one.fingerprint


@given(n=st.integers(1, 200), data=st.data())
def test_a_subset_is_strided_over_the_whole(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    index = split(n).subset(k).indices
    assert len(index) == k
    assert index[0] == 0
    gaps = torch.diff(torch.cat([index, torch.tensor([n])]))
    assert gaps.max() - gaps.min() <= 1
    assert gaps.min() >= 1


def test_indices_survive_a_subset_of_a_selection() -> None:
    chosen = split(100).take(torch.arange(100) % 2 == 1).subset(10)
    assert chosen.indices.tolist() == chosen.x.ravel().long().tolist() == list(range(1, 101, 10))


@pytest.mark.parametrize("n", [0, 11])
def test_an_impossible_subset_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"asked for {n} of the 10 samples of 'toy train'"):
        split().subset(n)


def test_inputs_and_labels_must_match() -> None:
    with pytest.raises(ValueError, match="3 inputs but 2 labels"):
        Split(torch.zeros(3, 1), torch.zeros(2, dtype=torch.int64), "train", "toy")
