"""The second cell of every chapter: which chapter, profile, seed and device this is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.reporting.context import Lab

MIME = "application/vnd.labkit.context+json"


def begin(chapter: str, profile: str, seed: int) -> Lab:
    """Start a chapter: remember its context for ``record`` and the figures, apply the style sheet, say it in one line.

    ``profile`` is "quick", "paper" or "smoke"; ``seed`` is the seed of every generator that the chapter makes.
    Raises ValueError for any other profile.
    """
    from labkit import device as devices
    from labkit.reporting import context

    # Profile quick is the same everywhere: on the CPU, unless somebody says otherwise.
    chosen = devices.device("cpu" if profile == "quick" and not os.environ.get("LABKIT_DEVICE") else None)
    lab = context.Lab(chapter=chapter, profile=profile, seed=int(seed), device=chosen)
    devices.use(chosen)
    context.set(lab)
    _apply_style()
    line = f"{chapter}: profile {lab.profile}, device {lab.device}, seed {lab.seed}"
    _show(line, {"chapter": chapter, "profile": lab.profile, "seed": lab.seed, "device": str(lab.device)})
    return lab


def _apply_style() -> None:
    try:
        from labkit.reporting import style
    except ImportError:  # matplotlib is not there: a chapter without figures runs all the same
        return
    style()


def _show(line: str, payload: dict[str, object]) -> None:
    """Display one line; its machine-readable twin tells the runner which device the kernel really used."""
    from labkit.reporting.emit import emit, in_notebook

    results = os.environ.get("LABKIT_RESULTS")
    if results and not in_notebook():
        from labkit.course.results import append_line

        append_line(results, {"type": "context", **payload})
    emit({"text/plain": line, MIME: payload})
