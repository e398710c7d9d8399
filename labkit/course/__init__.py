"""The course itself: chapters, their runner, exercises, the start page and the command line.

A chapter needs two lines of it::

    from labkit.course import begin
    lab = begin("10_evasion_gradient", PROFILE, SEED)
"""

from __future__ import annotations

import importlib
from typing import Any

from labkit.course.begin import begin

# Found on first use: the exercises draw widgets, which a chapter run on a bare machine does without.
_LATER = {
    "check": "labkit.course.exercises",
    "exercise": "labkit.course.exercises",
    "hint": "labkit.course.exercises",
    "solution": "labkit.course.exercises",
    "start_model": "labkit.course.start",
}

__all__ = ["begin", *_LATER]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"labkit.course has no {name!r}")
