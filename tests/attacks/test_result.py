"""Results: denominators, the better of two, joining batches."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from labkit.attacks import AttackResult
from labkit.threats import Linf


def result(success: list[int], already: list[int], distance: list[float], x: Tensor | None = None, **more: Any) -> AttackResult:
    count = len(success)
    x = torch.arange(float(count))[:, None] if x is None else x
    values: dict[str, Any] = {
        "x": x,
        "y": torch.zeros(count, dtype=torch.int64),
        "x_adv": x + torch.tensor(distance)[:, None],
        "success": torch.tensor(success).bool(),
        "already": torch.tensor(already).bool(),
        "distance": torch.tensor(distance).double(),
        "prediction": torch.tensor(success),
        "forwards": torch.full((count,), 3),
        "backwards": torch.full((count,), 2),
        "threat": Linf(0.1),
        "flags": {"zero_gradient": torch.zeros(count, dtype=torch.bool)},
        "meta": {"attack": "toy"},
    }
    return AttackResult(**{**values, **more})


def test_rates_and_their_denominators() -> None:
    found = result([1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0.1, 0.3, 0.2, 0.2])
    assert (found.robust_accuracy.k, found.robust_accuracy.n) == (2, 5)
    assert (found.success_rate.k, found.success_rate.n) == (2, 4)
    assert found.median_distance == pytest.approx(0.2)  # of 0.1 and 0.3: the mean of the two middle values
    assert len(found) == 5
    assert str(found).startswith("toy under Linf(0.1): success 50.0% (2 of 4 inputs not met before")
    assert "robust accuracy 40.0% (2 of 5" in str(found)


def test_nothing_turned() -> None:
    found = result([1, 0], [1, 0], [0, 0.1])
    assert math.isnan(found.median_distance)
    assert found.success_rate.k == 0
    assert math.isnan(float(result([], [], []).success_rate))


def test_targeted_has_no_robust_accuracy() -> None:
    found = result([1, 0], [0, 0], [0.1, 0.1], meta={"attack": "toy", "targeted": True})
    with pytest.raises(ValueError, match="not reaching the target"):
        _ = found.robust_accuracy
    assert "robust" not in str(found)


def test_best_of_takes_success_first_then_the_smaller_distance() -> None:
    one = result([1, 0, 1, 0, 1], [0] * 5, [0.5, 0.1, 0.5, 0.3, 0.5])
    two = result([0, 1, 1, 0, 1], [0] * 5, [0.1, 0.5, 0.4, 0.2, 0.6], flags={"zero_gradient": torch.tensor([True] + [False] * 4)})
    best = one.best_of(two)
    assert best.success.tolist() == [True, True, True, False, True]
    assert best.distance.tolist() == pytest.approx([0.5, 0.5, 0.4, 0.2, 0.5])
    torch.testing.assert_close(best.x_adv - best.x, best.distance[:, None].float())
    assert best.forwards.tolist() == [6] * 5
    assert best.backwards.tolist() == [4] * 5
    assert best.flags["zero_gradient"].tolist() == [True, False, False, False, False]
    with pytest.raises(ValueError, match="same inputs in the same order"):
        one.best_of(result([1] * 5, [0] * 5, [0.1] * 5, x=torch.zeros(5, 1)))


def test_joining_keeps_order_and_fills_shorter_traces() -> None:
    parts = [
        result([1], [0], [0.1], trace={"loss": torch.tensor([[1.0]])}),
        result([0, 1], [1, 0], [0.2, 0.3], trace={"loss": torch.arange(4.0).view(2, 2)}),
        result([1], [1], [0.0]),
    ]
    whole = AttackResult.concatenate(parts)
    assert whole.distance.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.0])
    assert whole.already.tolist() == [False, True, False, True]
    assert whole.flags["zero_gradient"].shape == (4,)
    torch.testing.assert_close(whole.trace["loss"], torch.tensor([[1, 0, 1, torch.nan], [torch.nan, 2, 3, torch.nan]]), equal_nan=True)
    assert AttackResult.concatenate([parts[2]]).trace == {}
    with pytest.raises(ValueError, match="nothing to join"):
        AttackResult.concatenate([])
