"""Curves, bars, histograms and heat maps: axes named with units, intervals drawn, color never the only sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

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
    chance: float | None = None,
    alt: str = "",
    ax: Axes | None = None,
) -> None:
    """Draw lines over ``x``, each named at its right end, with bands where intervals are known.

    ``series``: name to values, or to a sequence of rates, whose intervals become the bands. ``bands``: name to (low, high).
    ``unit="%"``: fractions on a percent axis. ``chance``: level of a guesser, dashed. ``ax``: draw there and show nothing.
    Raises ValueError when a series is not as long as ``x``.
    """
    at = _numbers(x)
    lines = {name: _numbers(values) for name, values in series.items()}
    if wrong := {name: len(values) for name, values in lines.items() if len(values) != len(at)}:
        raise ValueError(f"x has {len(at)} points, but {wrong}")
    edges = {name: band for name, values in series.items() if (band := _rate_band(values)) is not None}
    edges |= {name: (_numbers(low), _numbers(high)) for name, (low, high) in (bands or {}).items()}
    axes = ax or _figure().subplots()
    for i, (name, values) in enumerate(lines.items()):
        color = PALETTE[i % len(PALETTE)]
        if name in edges:
            axes.fill_between(at, *edges[name], color=color, alpha=0.18, linewidth=0)
        marker = MARKERS[i % len(MARKERS)] if len(at) <= 25 else None
        axes.plot(at, values, color=color, marker=marker, label=name, clip_on=False, zorder=3)
    if log_x:
        axes.set_xscale("log")
    _value_axis(axes, unit, [*lines.values(), *(edge for pair in edges.values() for edge in pair)])
    _chance(axes, chance, unit)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    _name_line_ends(axes, at, lines)
    if ax is None:
        data = {xlabel: at} | lines
        for name, (low, high) in edges.items():
            data |= {f"{name}, low": low, f"{name}, high": high}
        show(_owner(axes), alt=alt or _curve_alt(at, lines, xlabel, ylabel, unit), data=data)


def bar_chart(
    values: Mapping[str, Any], *, xlabel: str, unit: str = "", title: str = "", chance: float | None = None,
    alt: str = "", ax: Axes | None = None,
) -> None:  # fmt: skip
    """Draw one horizontal bar per entry, its value written out; rates carry their intervals as whiskers."""
    names = list(values)
    numbers = _numbers(list(values.values()))
    band = _rate_band(list(values.values()))
    unit = unit or ("%" if band is not None else "")
    fig = None if ax else _figure(height=0.75 + 0.42 * len(names) + (0.35 if title else 0))
    axes = ax or fig.subplots()  # type: ignore[union-attr]
    places = np.arange(len(names))[::-1]
    axes.barh(places, numbers, height=0.62, color=[PALETTE[i % len(PALETTE)] for i in range(len(names))])
    reach = numbers
    if band is not None:
        axes.errorbar(numbers, places, xerr=(numbers - band[0], band[1] - numbers), fmt="none", ecolor="#222222", elinewidth=1.2, capsize=3)
        reach = band[1]
    for place, end, value, given in zip(places, reach, numbers, values.values(), strict=True):
        text = number(float(value), unit, n=getattr(given, "n", None))
        axes.annotate(text, (max(end, 0), place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=9.5)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    if unit == "%":
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if chance is not None:
        axes.axvline(chance, color=BASELINE, linestyle="--", linewidth=1.2)
        axes.annotate("guessing", (chance, 1), xycoords=("data", "axes fraction"), xytext=(4, 2), textcoords="offset points",
                      fontsize=8.5, color=BASELINE)  # fmt: skip
    axes.set(xlabel=xlabel, title=title)
    if fig is not None:
        stated = [number(float(v), unit, n=getattr(g, "n", None)) for v, g in zip(numbers, values.values(), strict=True)]
        default = f"Bar chart of {xlabel}: " + ", ".join(f"{name} {text}" for name, text in zip(names, stated, strict=True)) + "."
        data = {"": names, xlabel: stated}
        if band is not None:
            data |= {"95% low": [number(float(v), unit) for v in band[0]], "95% high": [number(float(v), unit) for v in band[1]]}
        show(fig, alt=alt or default, data=data)


def histograms(
    groups: Mapping[str, Any], *, xlabel: str, bins: int = 40, threshold: float | None = None, title: str = "",
    alt: str = "", ax: Axes | None = None,
) -> None:  # fmt: skip
    """Draw how the values of each group are spread, as shares of that group, on common bins; ``threshold`` is a marked line.

    Values that are not finite are left out and counted in the legend.
    """
    arrays = {name: _numbers(values) for name, values in groups.items()}
    finite = {name: values[np.isfinite(values)] for name, values in arrays.items()}
    everything = np.concatenate(list(finite.values()))
    if everything.size == 0:
        raise ValueError(f"no finite value in any of {list(groups)}")
    edges = np.histogram_bin_edges(everything, bins)
    axes = ax or _figure().subplots()
    shares = {}
    for i, (name, values) in enumerate(finite.items()):
        shares[name] = np.histogram(values, edges)[0] / max(1, len(arrays[name]))
        lost = len(arrays[name]) - len(values)
        label = f"{name} (n = {len(arrays[name]):,}" + (f", {lost:,} not finite)" if lost else ")")
        axes.stairs(shares[name], edges, fill=True, color=PALETTE[i % len(PALETTE)], alpha=0.32)
        axes.stairs(shares[name], edges, color=PALETTE[i % len(PALETTE)], linewidth=1.8, label=label,
                    linestyle=("-", "--", "-.", ":")[i % 4])  # fmt: skip
    if threshold is not None:
        axes.axvline(threshold, color="#222222", linewidth=1.4, linestyle=":")
        axes.annotate(f" threshold {number(threshold)}", (threshold, 1), xycoords=("data", "axes fraction"), va="top", fontsize=9.5)
    axes.set_ylim(0, 1.12 * max(float(share.max()) for share in shares.values()))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.set(xlabel=xlabel, ylabel="share of the group", title=title)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=min(3, len(groups)), borderaxespad=0.2)
    if ax is None:
        parts = [f"{name}: median {number(float(np.median(v)))}, n = {len(v):,}" for name, v in finite.items() if len(v)]
        cut = f" The threshold is {number(threshold)}." if threshold is not None else ""
        data = {f"{xlabel}, from": edges[:-1], "to": edges[1:]} | shares
        show(_owner(axes), alt=alt or f"Histograms of {xlabel}. {'; '.join(parts)}.{cut}", data=data)


def heatmap(
    matrix: Any, rows: Sequence[str], columns: Sequence[str], *, label: str, unit: str = "", row_label: str = "",
    column_label: str = "", title: str = "", alt: str = "", ax: Axes | None = None,
) -> None:  # fmt: skip
    """Draw a matrix as colored cells with the number in each. ``rows`` and ``columns`` name them; NaN cells stay empty."""
    values = np.asarray(matrix.detach().cpu() if hasattr(matrix, "detach") else matrix, dtype=float)
    if values.shape != (len(rows), len(columns)):
        raise ValueError(f"a matrix of shape {values.shape} has not {len(rows)} rows and {len(columns)} columns")
    fig = None if ax else _figure(height=1.1 + 0.42 * len(rows), width=min(7.2, 2.2 + 0.75 * len(columns)))
    axes = ax or fig.subplots()  # type: ignore[union-attr]
    low, high = (0.0, 1.0) if unit == "%" else (float(np.nanmin(values)), float(np.nanmax(values)))
    picture = axes.imshow(values, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            text = f"{100 * value:.0f}" if unit == "%" else number(float(value))
            dark = (value - low) / ((high - low) or 1) < 0.55
            axes.text(j, i, text, ha="center", va="center", fontsize=9.5, color="white" if dark else "black")
    axes.set_xticks(range(len(columns)), columns, rotation=35 if max(map(len, columns)) > 7 else 0,
                    ha="right" if max(map(len, columns)) > 7 else "center")  # fmt: skip
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xlabel=column_label, ylabel=row_label, title=title)
    formatter = PercentFormatter(1.0, decimals=0) if unit == "%" else None
    axes.figure.colorbar(picture, ax=axes, label=label, format=formatter, pad=0.02).outline.set_visible(False)  # type: ignore[operator]
    if fig is not None:
        i, j = np.unravel_index(np.nanargmax(values), values.shape)
        default = (
            f"Heat map of {label}, {len(rows)} rows by {len(columns)} columns. Highest: {number(float(values[i, j]), unit)} "
            f"at {rows[i]}, {columns[j]}; lowest: {number(float(np.nanmin(values)), unit)}."
        )
        show(fig, alt=alt or default, data={row_label or "": list(rows)} | dict(zip(columns, values.T, strict=True)))


def _figure(height: float = 3.6, width: float = 7.2) -> Figure:
    # Not through pyplot: a figure that pyplot does not know is never shown a second time at the end of the cell.
    return Figure(figsize=(width, height), layout="constrained")


def _owner(axes: Axes) -> Figure:
    fig = axes.get_figure(root=True)
    assert fig is not None
    return fig


def _numbers(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    elif isinstance(values, Sequence):
        values = [float(value) for value in values]
    return np.asarray(values, dtype=float).reshape(-1)


def _rate_band(values: Any) -> tuple[Any, Any] | None:
    if not isinstance(values, Sequence) or not values or not all(hasattr(value, "interval") for value in values):
        return None
    pairs = np.asarray([value.interval for value in values], dtype=float)
    return pairs[:, 0], pairs[:, 1]


def _value_axis(axes: Axes, unit: str, drawn: list[Any]) -> None:
    if unit == "%":
        top = max(float(np.nanmax(values)) for values in drawn)
        axes.set_ylim(0, 1 if top > 0.5 else None)  # a rate is judged against 0, and against 100% when it comes near
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None if top <= 0.05 else 0))


def _chance(axes: Axes, chance: float | None, unit: str) -> None:
    if chance is not None:
        axes.axhline(chance, color=BASELINE, linestyle="--", linewidth=1.2, zorder=1)
        axes.annotate(f"guessing: {number(chance, unit)}", (0, chance), xycoords=("axes fraction", "data"),
                      xytext=(4, 3), textcoords="offset points", fontsize=8.5, color=BASELINE)  # fmt: skip


def _name_line_ends(axes: Axes, at: Any, lines: Mapping[str, Any]) -> None:
    """Write each name beside its line's last point, pushed apart where two would overlap."""
    if len(lines) < 2:
        return
    bottom, top = axes.get_ylim()
    gap = 0.075 * (top - bottom) * 3.6 / max(1.0, _owner(axes).get_size_inches()[1])
    ends = sorted((float(values[np.isfinite(values)][-1]) if np.isfinite(values).any() else bottom, i) for i, values in enumerate(lines.values()))
    places = [end for end, _ in ends]
    for _ in range(50):  # relax: neighbors closer than a line of text move apart equally
        for k in range(1, len(places)):
            if (overlap := gap - (places[k] - places[k - 1])) > 1e-12:
                places[k - 1] -= overlap / 2
                places[k] += overlap / 2
    shift = max(0.0, bottom - places[0])
    names = list(lines)
    for (_, i), place in zip(ends, places, strict=True):
        axes.annotate(names[i], (1.0, place + shift), xycoords=("axes fraction", "data"), xytext=(9, 0), textcoords="offset points",
                      va="center", color=PALETTE[i % len(PALETTE)], fontsize=10, fontweight="bold", annotation_clip=False)  # fmt: skip


def _curve_alt(at: Any, lines: Mapping[str, Any], xlabel: str, ylabel: str, unit: str) -> str:
    spans = [
        f"{name}: from {number(float(values[0]), unit)} at {number(float(at[0]))} to {number(float(values[-1]), unit)} at {number(float(at[-1]))}"
        for name, values in lines.items()
    ]
    return f"Line chart of {ylabel} against {xlabel}. " + "; ".join(spans) + "."
