"""Bars, histograms and heat maps: values written out, denominators stated, color never the only sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import PercentFormatter

from labkit.reporting.drawing import figure, numbers, owner, rate_band, rounded
from labkit.reporting.formatting import number
from labkit.reporting.looks import BASELINE, CLEAN, PALETTE
from labkit.reporting.showing import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bar_chart(
    values: Mapping[str, Any], *, xlabel: str, unit: str = "", title: str = "", chance: float | None = None,
    alt: str = "", ax: Axes | None = None,
) -> None:  # fmt: skip
    """Draw one horizontal bar per entry, its value written out; rates carry their intervals as whiskers."""
    names = list(values)
    means = numbers(list(values.values()))
    band = rate_band(list(values.values()))
    unit = unit or ("%" if band is not None else "")
    fig = None if ax else figure(height=0.75 + 0.42 * len(names) + (0.35 if title else 0))
    axes = ax or fig.subplots()  # type: ignore[union-attr]
    places = np.arange(len(names))[::-1]
    axes.barh(places, means, height=0.62, color=CLEAN, alpha=0.85)
    reach = means
    if band is not None:
        spans = (means - band[0], band[1] - means)
        axes.errorbar(means, places, xerr=spans, fmt="none", ecolor="#222222", elinewidth=1.2, capsize=3)
        reach = band[1]
    for place, end, value, given in zip(places, reach, means, values.values(), strict=True):
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
        axes.annotate(f"guessing: {rounded(chance, unit)}", (chance, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
                      textcoords="offset points", fontsize=8.5, color=BASELINE)  # fmt: skip
    axes.set_xlabel(xlabel)
    axes.set_title(title, pad=10 if chance is None else 20)
    if fig is not None:
        stated = [number(float(v), unit, n=getattr(g, "n", None)) for v, g in zip(means, values.values(), strict=True)]
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
    arrays = {name: numbers(values) for name, values in groups.items()}
    finite = {name: values[np.isfinite(values)] for name, values in arrays.items()}
    everything = np.concatenate(list(finite.values()))
    if everything.size == 0:
        raise ValueError(f"no finite value in any of {list(groups)}")
    edges = np.histogram_bin_edges(everything, bins)
    axes = ax or figure().subplots()
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
    top = 1.12 * max(float(share.max()) for share in shares.values())
    axes.set_ylim(0, top)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if top > 0.04 else 1))
    axes.set(xlabel=xlabel, ylabel="share of the group", title=title)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=min(3, len(groups)), borderaxespad=0.2)
    if ax is None:
        parts = [f"{name}: median {number(float(np.median(v)))}, n = {len(v):,}" for name, v in finite.items() if len(v)]
        cut = f" The threshold is {number(threshold)}." if threshold is not None else ""
        data = {f"{xlabel}, from": edges[:-1], "to": edges[1:]} | shares
        show(owner(axes), alt=alt or f"Histograms of {xlabel}. {'; '.join(parts)}.{cut}", data=data)


def heatmap(
    matrix: Any, rows: Sequence[str], columns: Sequence[str], *, label: str, unit: str = "", row_label: str = "",
    column_label: str = "", title: str = "", alt: str = "", ax: Axes | None = None,
) -> None:  # fmt: skip
    """Draw a matrix as colored cells with the number in each. ``rows`` and ``columns`` name them; NaN cells stay empty."""
    values = np.asarray(matrix.detach().cpu() if hasattr(matrix, "detach") else matrix, dtype=float)
    if values.shape != (len(rows), len(columns)):
        raise ValueError(f"a matrix of shape {values.shape} has not {len(rows)} rows and {len(columns)} columns")
    fig = None if ax else figure(height=1.1 + 0.42 * len(rows), width=min(7.2, 2.2 + 0.75 * len(columns)))
    axes = ax or fig.subplots()  # type: ignore[union-attr]
    low, high = (0.0, 1.0) if unit == "%" else (float(np.nanmin(values)), float(np.nanmax(values)))
    picture = axes.imshow(values, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            text = f"{100 * value:.0f}" if unit == "%" else f"{value:.3g}"
            red, green, blue, _ = picture.to_rgba(value)  # type: ignore[arg-type, misc, unused-ignore]
            light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2  # relative luminance; 0.18 splits the contrast evenly
            axes.text(j, i, text, ha="center", va="center", fontsize=9.5, color="black" if light > 0.18 else "white")
    axes.set_xticks(range(len(columns)), columns, rotation=35 if max(map(len, columns)) > 7 else 0,
                    ha="right" if max(map(len, columns)) > 7 else "center")  # fmt: skip
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(visible=False)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(visible=True, which="minor", color="white", linewidth=1.5)
    axes.set_axisbelow(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(which="both", length=0)
    axes.set(xlabel=column_label, ylabel=row_label, title=title)
    formatter = PercentFormatter(1.0, decimals=0) if unit == "%" else None
    axes.figure.colorbar(picture, ax=axes, label=label, format=formatter, pad=0.02).outline.set_visible(False)
    if fig is not None:
        i, j = divmod(int(np.nanargmax(values)), len(columns))
        default = (
            f"Heat map of {label}, {len(rows)} rows by {len(columns)} columns. Highest: {number(float(values[i, j]), unit)} "
            f"at {rows[i]}, {columns[j]}; lowest: {number(float(np.nanmin(values)), unit)}."
        )
        show(fig, alt=alt or default, data={row_label or "": list(rows)} | dict(zip(columns, values.T, strict=True)))
