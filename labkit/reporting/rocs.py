"""ROC curves on two logarithmic axes, where few false alarms have room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, NullLocator

from labkit.reporting.drawing import Numbers, figure, numbers, owner
from labkit.reporting.formatting import percent
from labkit.reporting.looks import BASELINE, PALETTE
from labkit.reporting.showing import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = ("-", "--", "-.", ":")


def roc_curves(
    curves: Mapping[str, tuple[Any, Any]], *, start: float, xlabel: str = "false-positive rate", ylabel: str = "true-positive rate",
    bands: Mapping[str, tuple[Any, Any, Any]] | None = None, title: str = "", alt: str = "", ax: Axes | None = None,
) -> None:  # fmt: skip
    """Draw ROC curves from ``start`` to 1 on both axes, with the diagonal of guessing.

    ``curves``: name to (FPR, TPR), rising, as they were counted; between two points the lower one holds. ``start``: the lowest FPR that
    the data can state, such as 5 / (number of negatives). ``bands``: name to (FPR, low, high). ``ax``: draw there and show nothing.
    Raises ValueError for a start outside (0, 1), or rates that do not rise.
    """
    if not 0 < start < 1:
        raise ValueError(f"the axis starts at a rate between 0 and 1, got {start}")
    grid = np.geomspace(start, 1.0, 120)
    lines = {name: _held(name, numbers(fpr), numbers(tpr), grid) for name, (fpr, tpr) in curves.items()}
    axes = ax or figure(height=4.4).subplots()
    axes.plot(grid, grid, color=BASELINE, linestyle="--", linewidth=1.2, label="guessing", zorder=1)
    for i, (name, values) in enumerate(lines.items()):
        color = PALETTE[i % len(PALETTE)]
        if bands and name in bands:
            at, low, high = (numbers(values) for values in bands[name])
            axes.fill_between(at, np.maximum(low, start / 10), high, color=color, alpha=0.16, linewidth=0)
        axes.plot(grid, values, color=color, linestyle=_STYLES[i % 4], label=name)
    axes.set(xscale="log", yscale="log", xlim=(start, 1), ylim=(start, 1.05), xlabel=xlabel, ylabel=ylabel, title=title)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
        axis.set_minor_locator(NullLocator())
    axes.legend(loc="lower right", fontsize=9, frameon=False)
    if ax is None:
        show(owner(axes), alt=alt or _alt(lines, grid), data={xlabel: grid[::10]} | {name: values[::10] for name, values in lines.items()})


def _held(name: str, fpr: Numbers, tpr: Numbers, grid: Numbers) -> Numbers:
    """Return the TPR of the last counted point at or below each FPR of the grid."""
    if len(fpr) != len(tpr) or (np.diff(fpr) < 0).any() or (np.diff(tpr) < 0).any():
        raise ValueError(f"{name!r}: FPR and TPR must be equally long and rise together")
    found: Numbers = np.where(grid < fpr[0], 0.0, tpr[np.searchsorted(fpr, grid * (1 + 1e-12), side="right") - 1])
    return found


def _alt(lines: Mapping[str, Numbers], grid: Numbers) -> str:
    def near(values: Numbers, rate: float) -> str:
        return f"{percent(float(values[int(np.abs(np.log(grid / rate)).argmin())]))} at {100 * rate:g}%"

    rates = [rate for rate in (0.001, 0.01, 0.1) if rate >= grid[0]]
    told = "; ".join(f"{name}: {', '.join(near(values, rate) for rate in rates)}" for name, values in lines.items())
    return f"ROC curves on logarithmic axes, true-positive rate at a false-positive rate. {told}."
