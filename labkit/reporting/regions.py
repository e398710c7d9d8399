"""Decision regions of classifiers of two numbers, the one case in which a whole model can be seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle

from labkit.reporting.drawing import figure
from labkit.reporting.looks import MARKERS, PALETTE
from labkit.reporting.showing import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def decision_regions(
    models: Mapping[str, Callable[[Any], Any]], x: Any, y: Any, *, eps: float = 0.0, resolution: int = 200,
    labels: tuple[str, str] = ("first value", "second value"), paths: Sequence[Any] = (), alt: str = "",
) -> None:  # fmt: skip
    """Draw, side by side, what each model answers everywhere on the unit square, with the points x (N, 2) and labels y (N,).

    ``models``: title to a model (N, 2) -> (N, K). ``eps``: half the side of the square drawn around every point, which is what
    an attacker in Linf can reach; 0 draws none. A point has a filled marker when its model is right in all of its square, as far as
    the grid tells, and a hollow one otherwise. ``labels``: of the two axes. ``paths``: walks, (S, 2) each, drawn as lines with a dot for
    every step. Raises ValueError when x is not (N, 2).
    """
    points, wanted = np.asarray(x.detach().cpu(), dtype=float), np.asarray(y.cpu())
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"decision regions are drawn for inputs of two numbers, got shape {points.shape}")
    ticks = torch.linspace(0, 1, resolution)
    grid = torch.cartesian_prod(ticks, ticks)
    fig = figure(width=7.2, height=7.2 / len(models) + 0.35)
    safe: dict[str, int] = {}
    for axes, (title, model) in zip(fig.subplots(1, len(models), squeeze=False)[0], models.items(), strict=True):
        with torch.no_grad():
            answers = model(grid).argmax(1).reshape(resolution, resolution).cpu().numpy()
        axes.imshow(answers.T, origin="lower", extent=(0, 1, 0, 1), cmap=ListedColormap(PALETTE), vmin=-0.5, vmax=len(PALETTE) - 0.5,
                    alpha=0.25, interpolation="nearest")  # fmt: skip
        held = [_holds(answers, point, label, max(eps, 0.5 / resolution)) for point, label in zip(points, wanted, strict=True)]
        safe[title] = sum(held)
        for path in paths:
            axes.plot(*np.asarray(path, dtype=float).T, color="#222222", linewidth=1.3, marker=".", markersize=6, clip_on=False)
        _draw_points(axes, points, wanted, held, eps)
        axes.set(title=title, xlabel=labels[0], ylabel=labels[1], xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.grid(visible=False)
    where = "right in the whole square" if eps else "right"
    spoken = "right in their whole square" if eps else "right"
    stated = "; ".join(f"{title}: {count} of {len(points)} points {spoken}" for title, count in safe.items())
    show(fig, alt=alt or f"Decision regions on the unit square with {len(points)} labelled points. {stated}.",
         data={"model": list(safe), where: list(safe.values()), "of": [len(points)] * len(safe)})  # fmt: skip


def _holds(answers: Any, point: Any, label: int, eps: float) -> bool:
    """Say whether all grid points within ``eps`` of ``point`` are answered with ``label``."""
    last = len(answers) - 1
    low = np.ceil(np.clip(point - eps, 0, 1) * last - 1e-9).astype(int)
    high = np.floor(np.clip(point + eps, 0, 1) * last + 1e-9).astype(int)
    return bool((answers[low[0] : high[0] + 1, low[1] : high[1] + 1] == label).all())


def _draw_points(axes: Axes, points: Any, labels: Any, held: list[bool], eps: float) -> None:
    for point, label, fine in zip(points, labels, held, strict=True):
        color = PALETTE[int(label) % len(PALETTE)]
        if eps:
            axes.add_patch(Rectangle(tuple(point - eps), 2 * eps, 2 * eps, fill=False, edgecolor=color, linewidth=0.9))
        axes.plot(*point, marker=MARKERS[int(label) % len(MARKERS)], color=color, markersize=5.5,
                  markerfacecolor=color if fine else "white", markeredgewidth=1.3, clip_on=False)  # fmt: skip
