"""What the shared battery does not ask of the checks: other boxes, goals, empty batches, logits."""

from __future__ import annotations

import pytest
import torch

from labkit.attacks import Targeted, Untargeted
from labkit.attacks.checks import check_images, check_inputs, check_logits
from labkit.threats import Linf

X, Y = torch.rand(3, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])


def test_returns_what_the_goal_refers_to() -> None:
    target = (Y + 1) % 3
    assert check_inputs(X, Y, Linf(0.1)) is Y
    assert check_inputs(X, Y, Linf(0.1), target) is target
    with pytest.raises(ValueError, match="needs target="):
        check_inputs(X, Y, Linf(0.1), goal=Targeted())
    with pytest.raises(ValueError, match="is untargeted"):
        check_inputs(X, Y, Linf(0.1), target, Untargeted())


def test_other_boxes() -> None:
    check_images(X * 255, 0, 255)
    check_images(X * 2 - 1, -1, 1)
    with pytest.raises(ValueError, match=r"must lie in \[-1, 1\].*other bounds"):
        check_images(X * 1.5 + 0.5, -1, 1)
    with pytest.raises(ValueError, match="divide by 255"):
        check_images(X * 255, 0, 1)


def test_edges_are_inside_and_an_ulp_more_is_not() -> None:
    check_images(torch.tensor([[0.0, 1.0]]), 0, 1)
    with pytest.raises(ValueError, match="must lie in"):
        check_images(torch.nextafter(torch.tensor([[1.0]]), torch.tensor(2.0)), 0, 1)


def test_nothing_to_check() -> None:
    check_inputs(X[:0], Y[:0], Linf(0.1))
    check_logits(torch.zeros(0, 4), Y[:0], False)


def test_logits() -> None:
    check_logits(torch.zeros(3, 3), Y, False)
    with pytest.raises(ValueError, match=r"logits of shape \(3, classes\), got \(3,\)"):
        check_logits(torch.zeros(3), Y, False)
    with pytest.raises(ValueError, match=r"got \(2, 3\)"):
        check_logits(torch.zeros(2, 3), Y, False)
    with pytest.raises(ValueError, match=r"target holds class 2, but the model has 2 classes \(0 to 1\)"):
        check_logits(torch.zeros(3, 2), Y, True)
