"""How a number is written: percentages from fractions, as many digits as the sample supports, its interval beside it."""

from __future__ import annotations

import math
from typing import Any


def plain_number(value: Any) -> float | int | bool | str | None:
    """Return ``value`` as a Python number; tensors, arrays and NumPy scalars of one element are unpacked.

    Text and None pass. Raises TypeError for anything else, naming its type and shape.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    size = value.numel() if hasattr(value, "numel") else getattr(value, "size", None)
    if hasattr(value, "item") and size in (None, 1):
        unpacked = value.item()
        if isinstance(unpacked, (bool, int, float, str)):
            return unpacked
    shape = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
    raise TypeError(f"a result is one number, not {type(value).__name__}{shape}; reduce it first, for example with .mean()")


def percent_digits(n: int | None) -> int:
    """Return how many decimals a percentage over ``n`` cases deserves: one case is 100/n points."""
    if n is None:
        return 1
    return 0 if n <= 100 else 1 if n < 5000 else 2


def percent(value: float, n: int | None = None) -> str:
    """Return a fraction as a percentage: ``percent(0.0674) == "6.7%"``; ``n`` cases decide the number of decimals."""
    return f"{100 * value:.{percent_digits(n)}f}%"


def number(value: float | int | bool | str | None, unit: str = "", *, n: int | None = None) -> str:
    """Return ``value`` with its unit; unit "%" means that the value is a fraction."""
    if value is None:
        return "not measured"
    if isinstance(value, (bool, str)):
        return str(value)
    if not math.isfinite(value):
        return "NaN (not a number)" if math.isnan(value) else ("infinity" if value > 0 else "minus infinity")
    if unit == "%":
        return percent(value, n)
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return f"{text} {unit}".rstrip()


def interval_text(interval: tuple[float, float] | None, unit: str = "", *, n: int | None = None) -> str:
    """Return an interval as "[92.8%, 93.7%]", or the empty string when there is none."""
    if interval is None:
        return ""
    return f"[{number(interval[0], unit, n=n)}, {number(interval[1], unit, n=n)}]"
