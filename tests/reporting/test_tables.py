"""Tables: three ways in, two ways out."""

import pandas as pd
import pytest
import torch

from labkit.reporting import Rate, table
from labkit.reporting.tables import csv_text, to_rows


@pytest.mark.parametrize("data", [
    {"attack": ["FGSM", "PGD"], "accuracy": [0.312, 0.004]},
    {"attack": ["FGSM", "PGD"], "accuracy": torch.tensor([0.312, 0.004], dtype=torch.float64)},
    [{"attack": "FGSM", "accuracy": 0.312}, {"attack": "PGD", "accuracy": 0.004}],
    pd.DataFrame({"attack": ["FGSM", "PGD"], "accuracy": [0.312, 0.004]}),
])  # fmt: skip
def test_every_way_in_gives_the_same_table(data, shown):
    table(data, caption="Attacks", units={"accuracy": "%"})
    bundle = shown[0][0]
    assert bundle["text/plain"] == "Attacks\nattack  accuracy\n------  --------\nFGSM       31.2%\nPGD         0.4%"
    assert '<td style="text-align:right">31.2%</td>' in bundle["text/html"]
    assert '<th scope="col" style="text-align:left">attack</th>' in bundle["text/html"]


def test_rates_show_their_denominator_and_missing_cells_a_dash(shown):
    table([{"a": Rate(1, 4)}, {"a": float("nan")}])
    assert "25% (1 of 4)" in shown[0][0]["text/plain"]
    assert shown[0][0]["text/plain"].splitlines()[-1].strip() == "-"
    table([{"a": Rate(0, 0)}])
    assert shown[1][0]["text/plain"].splitlines()[-1].strip() == "- (0 of 0)"


def test_unequal_columns_and_other_things_are_refused():
    with pytest.raises(ValueError, match=r"'a': 1, 'b': 2"):
        to_rows({"a": [1], "b": [1, 2]})
    with pytest.raises(ValueError, match="not int"):
        to_rows(3)


def test_csv_quotes():
    assert csv_text(["a,b", "c"], [[0.123456789, 'say "x"']]) == '"a,b",c\n0.123457,"say ""x"""'


def test_html_is_escaped(shown):
    table({"<a>": ["<script>"]}, caption="<b>")
    assert not any(raw in shown[0][0]["text/html"] for raw in ("<a>", "<script>", "<b>"))
