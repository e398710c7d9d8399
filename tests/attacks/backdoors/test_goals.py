"""Wishes: where there is something to win, and where there is not."""

from __future__ import annotations

import pytest
import torch

from labkit.attacks.backdoors import all_to_all, wishes

Y = torch.tensor([0, 1, 2, 3, 2])


def test_one_class_for_all_leaves_its_own_samples_out() -> None:
    assert wishes(Y, 2).tolist() == [2, 2, -1, 2, -1]


def test_one_class_for_one() -> None:
    assert wishes(Y, 0, source=2).tolist() == [-1, -1, 0, -1, 0]
    assert wishes(Y, 0, source=(1, 3)).tolist() == [-1, 0, -1, 0, -1]


def test_a_map_wishes_for_each_class_its_own() -> None:
    assert all_to_all(4) == (1, 2, 3, 0)
    assert wishes(Y, all_to_all(4)).tolist() == [1, 2, 3, 0, 3]
    assert wishes(Y, (0, 0, 2, 1)).tolist() == [-1, 0, -1, 1, -1]


def test_bad_goals_are_refused() -> None:
    with pytest.raises(ValueError, match="names 3 answers, but there is a label 3"):
        wishes(Y, (1, 2, 0))
    with pytest.raises(ValueError, match="class 2 is to be read as itself"):
        wishes(Y, 2, source=2)
    with pytest.raises(ValueError, match="0 or more"):
        wishes(Y, -1)
    with pytest.raises(ValueError, match="at least two"):
        all_to_all(1)
