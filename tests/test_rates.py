"""Rates and their intervals, against SciPy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from labkit.rates import Rate, wilson


@given(st.integers(1, 5000), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_wilson_equals_scipy(n: int, share: float, confidence: float) -> None:
    k = min(n, int(share * (n + 1)))
    low, high = wilson(k, n, confidence)
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= low <= k / n <= high <= 1


def test_ends() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 10)[1] == pytest.approx(0.27753, abs=1e-5)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (1, 0)])
def test_what_is_no_rate(k: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{k} out of {n}"):
        wilson(k, n)
    with pytest.raises(ValueError, match=f"{k} out of {n} inputs"):
        Rate(k, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_what_is_no_confidence(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        wilson(1, 2, confidence)


def test_a_rate_says_what_it_counts() -> None:
    rate = Rate(3, 12, "signs")
    assert float(rate) == 0.25
    assert rate.interval == wilson(3, 12)
    assert str(rate) == "25.0% (3 of 12 signs; 95 % interval 8.9% to 53.2%)"
    assert math.isnan(float(Rate(0, 0)))
