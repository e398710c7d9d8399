"""Every family's result says what it achieved and what it cost, in one form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.attacks import Outcome
from labkit.attacks.evasion import pgd
from labkit.rates import Rate
from labkit.threats import Linf


class Guessed(Outcome):
    @property
    def metrics(self) -> dict[str, Rate | float]:
        return {"found": Rate(3, 4, "records"), "AUC": 0.75}

    @property
    def costs(self) -> dict[str, float]:
        return {"queries": 12_000}


def test_the_summary_names_denominators_and_costs() -> None:
    line = Guessed().summary()
    assert "found 75.0% (3 of 4 records" in line
    assert "AUC 0.75" in line
    assert line.endswith("[12,000 queries]")


def test_a_result_without_metrics_or_costs_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Outcome()  # type: ignore[abstract]


def test_an_evasion_says_the_same_as_its_own_properties() -> None:
    model, x = nn.Linear(2, 2), torch.rand(5, 2, generator=torch.Generator().manual_seed(1))
    result = pgd(model, x, model(x).argmax(1), Linf(0.3), steps=3)
    assert result.metrics["success"] == result.success_rate
    assert result.metrics["robust accuracy"] == result.robust_accuracy
    assert result.costs == {"forwards": int(result.forwards.sum()), "backwards": int(result.backwards.sum())}


def test_a_targeted_evasion_has_no_robust_accuracy() -> None:
    model, x = nn.Linear(2, 2), torch.full((1, 2), 0.5)
    result = pgd(model, x, model(x).argmax(1), Linf(0.1), steps=1, target=1 - model(x).argmax(1))
    assert "robust accuracy" not in result.metrics
