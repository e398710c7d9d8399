"""The arithmetic of the metrics, on the worked example of TextAttack's documentation: 200 texts, 43 wrong before, 128 turned."""

from __future__ import annotations

import torch

from labkit.attacks.discrete import SubstitutionResult
from labkit.threats import Substitutions


def made(total: int, wrong: int, turned: int) -> SubstitutionResult:
    already = torch.arange(total) < wrong
    success = torch.arange(total) < wrong + turned
    ones = torch.ones(total, dtype=torch.int64)
    return SubstitutionResult(["a b"] * total, ["a b"] * total, ones, success, already, ones, ones * success, 2 * ones, 3 * ones, ones,
                              0 * ones, Substitutions(lambda word: ()))  # fmt: skip


def test_the_documented_example() -> None:
    result = made(200, 43, 128)
    assert (result.accuracy_before.k, result.accuracy_before.n) == (157, 200)
    assert (result.success_rate.k, result.success_rate.n) == (128, 157)
    assert result.success_rate.of == "texts read correctly before"
    assert (result.accuracy_after.k, result.accuracy_after.n) == (29, 200)
    shown = [f"{float(rate):.1%}" for rate in (result.accuracy_before, result.success_rate, result.accuracy_after)]
    assert shown == ["78.5%", "81.5%", "14.5%"]


def test_means_are_over_those_they_name() -> None:
    result = made(10, 4, 3)
    assert result.share_changed == 0.5
    assert result.median_changed == 1
    assert result.mean_queries == 3
    assert result.costs == {"queries": 30.0}
    assert "accuracy under attack" in result.summary()
    nothing = made(3, 3, 0)
    assert nothing.success_rate.n == 0
    assert nothing.median_changed != nothing.median_changed
