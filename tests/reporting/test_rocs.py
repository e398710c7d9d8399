"""ROC curves hold the last counted point, and refuse what is no ROC."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from labkit.reporting.rocs import roc_curves


def test_the_last_counted_point_holds() -> None:
    axes = Figure().subplots()
    roc_curves({"a": ([0, 0.1, 0.1, 1], [0.2, 0.2, 0.6, 1])}, start=0.01, ax=axes)
    guessing, drawn = axes.get_lines()
    x, y = np.asarray(drawn.get_xdata()), np.asarray(drawn.get_ydata())
    assert set(y[x < 0.0999]) == {0.2}
    assert set(y[(x > 0.1001) & (x < 0.999)]) == {0.6}
    assert y[-1] == 1.0
    assert np.array_equal(guessing.get_xdata(), guessing.get_ydata())
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_before_the_first_point_nothing_is_found() -> None:
    axes = Figure().subplots()
    roc_curves({"a": ([0.5, 1], [0.9, 1])}, start=0.1, ax=axes, bands={"a": ([0.5, 1], [0.8, 1], [0.95, 1])})
    drawn = axes.get_lines()[1]
    assert set(np.asarray(drawn.get_ydata())[np.asarray(drawn.get_xdata()) < 0.49]) == {0.0}
    assert len(axes.collections) == 1


def test_what_is_no_roc_is_named() -> None:
    with pytest.raises(ValueError, match="'a': FPR and TPR must be equally long"):
        roc_curves({"a": ([0, 1, 0.5], [0, 0.5, 1])}, start=0.1)
    with pytest.raises(ValueError, match="between 0 and 1, got 0"):
        roc_curves({}, start=0)
