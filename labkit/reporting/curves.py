"""Curves: a quantity against a budget, each line named at its end, its interval a band."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter

from labkit.reporting.drawing import figure, numbers, owner, rate_band, rounded
from labkit.reporting.formatting import number
from labkit.reporting.looks import BASELINE, MARKERS, PALETTE
from labkit.reporting.showing import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def curve(
    x: Any,
    series: Mapping[str, Any],
    *,
    xlabel: str,
    ylabel: str,
    bands: Mapping[str, tuple[Any, Any]] | None = None,
    unit: str = "",
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
    chance: float | None = None,
    alt: str = "",
    ax: Axes | None = None,
) -> None:
    """Draw lines over ``x``, each named at its right end, with bands where intervals are known.

    ``series``: name to values, or to a sequence of rates, whose intervals become the bands. ``bands``: name to (low, high).
    ``unit="%"``: fractions on a percent axis. ``chance``: level of a guesser, dashed. ``ax``: draw there and show nothing.
    ``log_x``, ``log_y``: logarithmic axes; an ``ax`` may have its scale already.
    Raises ValueError when a series is not as long as ``x``.
    """
    at = numbers(x)
    lines = {name: numbers(values) for name, values in series.items()}
    if wrong := {name: len(values) for name, values in lines.items() if len(values) != len(at)}:
        raise ValueError(f"x has {len(at)} points, but {wrong}")
    edges = {name: band for name, values in series.items() if (band := rate_band(values)) is not None}
    edges |= {name: (numbers(low), numbers(high)) for name, (low, high) in (bands or {}).items()}
    axes = ax or figure().subplots()
    for i, (name, values) in enumerate(lines.items()):
        color = PALETTE[i % len(PALETTE)]
        if name in edges:
            axes.fill_between(at, *edges[name], color=color, alpha=0.18, linewidth=0)
        marker = MARKERS[i % len(MARKERS)] if len(at) <= 25 else None
        axes.plot(at, values, color=color, marker=marker, label=name, clip_on=False, zorder=3)
    if log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if len(at) <= 10:
            axes.set_xticks(at)
        axes.xaxis.set_minor_locator(NullLocator())
    if log_y:
        if others := [name for name, values in lines.items() if np.nanmin(values) <= 0]:
            raise ValueError(f"a logarithmic axis shows values above 0, and {', '.join(others)} has others: leave out log_y")
        axes.set_yscale("log")
    _value_axis(axes, unit, [*lines.values(), *(edge for pair in edges.values() for edge in pair)])
    _chance(axes, chance, unit)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    _name_line_ends(axes, at, lines)
    if ax is None:
        data = {xlabel: at} | lines
        for name, (low, high) in edges.items():
            data |= {f"{name}, low": low, f"{name}, high": high}
        show(owner(axes), alt=alt or _curve_alt(at, lines, xlabel, ylabel, unit), data=data)


def _value_axis(axes: Axes, unit: str, drawn: list[Any]) -> None:
    if unit == "%":
        top = max(float(np.nanmax(values)) for values in drawn)
        axes.set_ylim(0, 1 if top > 0.5 else None)  # a rate is judged against 0, and against 100% when it comes near
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None if top <= 0.05 else 0))


def _chance(axes: Axes, chance: float | None, unit: str) -> None:
    if chance is not None:
        axes.axhline(chance, color=BASELINE, linestyle="--", linewidth=1.2, zorder=1)
        axes.annotate(f"guessing: {rounded(chance, unit)}", (0, chance), xycoords=("axes fraction", "data"),
                      xytext=(4, 3), textcoords="offset points", fontsize=8.5, color=BASELINE)  # fmt: skip


def _name_line_ends(axes: Axes, at: Any, lines: Mapping[str, Any]) -> None:
    """Write each name beside its line's last point, pushed apart where two would overlap."""
    if len(lines) < 2:
        return
    scale = axes.yaxis.get_transform()  # names keep their distance as it is seen: on a logarithmic axis, in logarithms
    low, high = axes.get_ylim()
    bottom, top = scale.transform([low, high])
    gap = 0.075 * (top - bottom) * 3.6 / max(1.0, owner(axes).get_size_inches()[1])
    finite = [values[np.isfinite(values)] for values in lines.values()]
    ends = sorted((float(scale.transform(max(values[-1], low))) if len(values) else bottom, i) for i, values in enumerate(finite))
    places = [end for end, _ in ends]
    for _ in range(50):  # relax: neighbors closer than a line of text move apart equally
        for k in range(1, len(places)):
            if (overlap := gap - (places[k] - places[k - 1])) > 1e-12:
                places[k - 1] -= overlap / 2
                places[k] += overlap / 2
    shift = max(0.0, bottom - places[0])
    names = list(lines)
    for (_, i), place in zip(ends, places, strict=True):
        height = float(scale.inverted().transform(place + shift))
        axes.annotate(names[i], (1.0, height), xycoords=("axes fraction", "data"), xytext=(9, 0), textcoords="offset points",
                      va="center", color=PALETTE[i % len(PALETTE)], fontsize=10, fontweight="bold", annotation_clip=False)  # fmt: skip


def _curve_alt(at: Any, lines: Mapping[str, Any], xlabel: str, ylabel: str, unit: str) -> str:
    def end(values: Any, i: int) -> str:
        return f"{number(float(values[i]), unit)} at {number(float(at[i]))}"

    spans = [f"{name}: from {end(values, 0)} to {end(values, -1)}" for name, values in lines.items()]
    return f"Line chart of {ylabel} against {xlabel}. " + "; ".join(spans) + "."
