"""Losses: by hand, by their invariances, and sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from labkit.attacks.losses import LOSSES, cross_entropy, dlr, margin

LOGITS = torch.tensor([[-5.0, -1.0, -3.0], [4.0, 1.0, 2.0]], dtype=torch.float64)
Y = torch.tensor([1, 0])
each_loss = pytest.mark.parametrize("name", list(LOSSES))


def test_by_hand() -> None:
    # The largest other logit is -3, not the 0 of a mask: a published implementation gets this one wrong.
    assert margin(LOGITS, Y).tolist() == [-2.0, -2.0]
    assert dlr(LOGITS, Y).tolist() == pytest.approx([-2 / 4, -2 / 3])
    expected = -np.log(np.exp(LOGITS.numpy()) / np.exp(LOGITS.numpy()).sum(1, keepdims=True))[[0, 1], [1, 0]]
    assert cross_entropy(LOGITS, Y).tolist() == pytest.approx(expected.tolist())


def logits_of(values: list[float]) -> tuple[Tensor, Tensor]:
    logits = torch.tensor(values, dtype=torch.float64).view(3, 4)
    return logits, torch.tensor([0, 1, 2])


@given(st.lists(st.floats(-20, 20), min_size=12, max_size=12), st.floats(-100, 100), st.floats(0.01, 100))
def test_invariances(values: list[float], shift: float, scale: float) -> None:
    logits, y = logits_of(values)
    for name, loss in LOSSES.items():
        if name != "dlr":  # between nearly equal logits the ratio is all rounding
            torch.testing.assert_close(loss(logits + shift, y), loss(logits, y), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(margin(logits * scale, y), margin(logits, y) * scale)
    top = logits.topk(3).values
    apart = (top[:, 0] - top[:, 2]) > 1e-3
    torch.testing.assert_close(dlr(logits * scale + shift, y)[apart], dlr(logits, y)[apart], rtol=1e-6, atol=1e-6)


@given(st.lists(st.floats(-20, 20), min_size=12, max_size=12, unique=True))
def test_signs_tell_who_is_wrong(values: list[float]) -> None:
    logits, y = logits_of(values)
    wrong = logits.argmax(1) != y
    assert torch.equal(margin(logits, y) > 0, wrong)
    assert torch.equal(dlr(logits, y) > 0, wrong)


@each_loss
def test_every_sample_on_its_own(name: str) -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.arange(6) % 5
    whole = LOSSES[name](logits, y)
    assert whole.shape == (6,)
    for i in range(6):
        torch.testing.assert_close(LOSSES[name](logits[i : i + 1], y[i : i + 1])[0], whole[i], rtol=1e-14, atol=0)
    logits[2] = torch.nan
    assert LOSSES[name](logits, y).isnan().tolist() == [i == 2 for i in range(6)]


@each_loss
def test_gradient_equals_finite_differences(name: str) -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](z, torch.tensor([0, 1, 2, 3])), logits)


def test_two_classes() -> None:
    logits, y = torch.tensor([[1.0, 3.0]]), torch.tensor([0])
    assert margin(logits, y).item() == 2
    with pytest.raises(ValueError, match=r"at least 3 classes, the model has 2.*margin"):
        dlr(logits, y)
