"""Numbers as text: percent from fractions, digits by denominator, non-finite values named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.reporting.formatting import interval_text, number, percent, percent_digits


@pytest.mark.parametrize(
    ("value", "unit", "n", "text"),
    [
        (0.0674, "%", 10_000, "6.74%"), (0.0674, "%", 1_000, "6.7%"), (0.12, "%", 50, "12%"), (0.0674, "%", None, "6.7%"),
        (1234567, "queries", None, "1,234,567 queries"), (0.123456, "", None, "0.1235"), (43210.9, "", None, "43,211"),
        (True, "", None, "True"), (None, "%", None, "not measured"), ("stop", "", None, "stop"),
        (float("inf"), "%", None, "infinity"), (2.0e-3, "L2", None, "0.002 L2"),
    ],
)  # fmt: skip
def test_number(value, unit, n, text):
    assert number(value, unit, n=n) == text


def test_interval():
    assert interval_text((0.1, 0.2), "%", n=10_000) == "[10.00%, 20.00%]"
    assert interval_text(None) == ""


@given(st.integers(1, 10**6), st.data())
def test_counts_that_differ_are_written_differently_up_to_ten_thousand(n, data):
    # The digits must separate neighbouring counts wherever the rule promises it: up to 100, 1,000 and 10,000 cases.
    n = data.draw(st.sampled_from([10, 100, 500, 1000, 5000, 10_000]))
    k = data.draw(st.integers(0, n - 1))
    assert percent(k / n, n) != percent((k + 1) / n, n)
    assert 0 <= percent_digits(n) <= 2
