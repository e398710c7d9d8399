"""Pictures of inputs: images side by side, pixels as squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from labkit.reporting.looks import ATTACKED
from labkit.reporting.showing import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pixels = npt.NDArray[np.float64]


def image_row(
    images: Any, titles: Sequence[str] | None = None, *, wrong: Sequence[bool] | None = None, per_row: int = 6,
    size: float | None = None, alt: str = "",
) -> None:  # fmt: skip
    """Show images side by side, pixels as squares.

    ``images``: (B, C, H, W) or (B, H, W), values in [0, 1], one or three channels. ``titles``: one per image; titles of
    ``wrong`` images are vermillion and carry a cross. ``size``: inches per image. Raises ValueError for other shapes or values.
    """
    drawn = [pixels(image) for image in images]
    if not drawn:
        raise ValueError("no images to show")
    names = [""] * len(drawn) if titles is None else [str(title) for title in titles]
    if len(names) != len(drawn):
        raise ValueError(f"{len(drawn)} images, but {len(names)} titles")
    columns = min(per_row, len(drawn))
    rows = -(-len(drawn) // columns)
    inches = size or min(1.9, 7.2 / columns)
    lines = max((name.count("\n") + 1 for name in names if name), default=0)
    fig = Figure(figsize=(inches * columns, rows * (inches + 0.22 * lines) + 0.06), layout="constrained")
    grid = fig.subplots(rows, columns, squeeze=False)
    flags = [False] * len(drawn) if wrong is None else [bool(flag) for flag in wrong]
    for axes in grid.flat:
        bare(axes)
        axes.set_visible(False)
    for axes, image, name, flag in zip(grid.flat, drawn, names, flags, strict=False):
        axes.set_visible(True)
        draw(axes, image)
        axes.set_title(f"\u2717 {name}" if flag else name, fontsize=9.5, loc="center", pad=4,
                       color=ATTACKED if flag else "#333333", fontweight="bold" if flag else "normal")  # fmt: skip
    spoken = ", ".join(name.replace("\n", " ") for name in names if name)
    show(fig, alt=alt or f"{len(drawn)} images" + (f": {spoken}." if spoken else "."))


def array(values: Any) -> Any:
    """Return a NumPy array (float64) from a tensor or anything array-like."""
    return values.detach().cpu().double().numpy() if hasattr(values, "detach") else np.asarray(values)


def pixels(image: Any) -> Pixels:
    """Return (H, W, 1 or 3) from (C, H, W) or (H, W), checked."""
    values = np.asarray(array(image), dtype=float)
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[0] not in (1, 3):
        raise ValueError(f"an image of shape {values.shape} is neither (C, H, W) with one or three channels nor (H, W)")
    if values.min() < -1e-6 or values.max() > 1 + 1e-6:
        raise ValueError(
            f"pixel values from {values.min():.3g} to {values.max():.3g}, expected [0, 1]: divide by 255, or undo a normalization?"
        )
    return values.transpose(1, 2, 0)


def bare(axes: Axes) -> None:
    """Leave axes without ticks and grid, in a thin gray frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color("#bbbbbb")
        spine.set_linewidth(0.6)


def draw(axes: Axes, image: Pixels) -> None:
    """Draw pixels (H, W, 1 or 3) on the fixed scale [0, 1]."""
    shown = np.clip(image.squeeze(-1) if image.shape[-1] == 1 else image, 0, 1)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
