"""What the charts share: figures outside pyplot, numbers out of anything, bands out of rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = npt.NDArray[np.float64]


def figure(height: float = 3.6, width: float = 7.2) -> Figure:
    """Return a figure of that size in inches. Not through pyplot: what pyplot does not know is never shown a second time."""
    return Figure(figsize=(width, height), layout="constrained")


def owner(axes: Axes) -> Figure:
    """Return the figure that ``axes`` belong to."""
    fig = axes.get_figure(root=True)
    assert fig is not None
    return fig


def numbers(values: Any) -> Numbers:
    """Return a flat array of floats from a tensor, an array, or a sequence of numbers or rates."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double()
    elif isinstance(values, Sequence):
        values = [_float(value) for value in values]
    return np.asarray(values, dtype=float).reshape(-1)


def rate_band(values: Any) -> tuple[Numbers, Numbers] | None:
    """Return (low, high) of a sequence of rates, or None if these are not rates."""
    if not isinstance(values, Sequence) or not values or not all(hasattr(value, "interval") for value in values):
        return None
    pairs = np.asarray([value.interval for value in values], dtype=float)
    return pairs[:, 0], pairs[:, 1]


def rounded(value: float, unit: str) -> str:
    """Return a number for a label, three digits at most."""
    return f"{100 * value:.3g}%" if unit == "%" else f"{value:.3g} {unit}".rstrip()


def _float(value: Any) -> float:
    return float(value.value if hasattr(value, "value") else value)
