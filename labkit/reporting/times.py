"""How long a chapter takes: measured by the runner, kept in ``data/reproduced/running_times.json``, said by the chapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labkit.files import ProjectNotFound, project_root, write_json
from labkit.reporting import context
from labkit.reporting.results import say

#: What was timed: "quick" with its models cached, "cold" from an empty cache, "paper" with the papers' data.
KINDS = ("quick", "cold", "paper")


def times_file() -> Path:
    """Return where the times are kept. Raises ProjectNotFound outside a checkout."""
    return project_root() / "data" / "reproduced" / "running_times.json"


def known_times() -> dict[str, dict[str, Any]]:
    """Return chapter -> kind -> {"seconds", "peak_mib", "machine"}; empty where nothing was measured."""
    try:
        content: dict[str, dict[str, Any]] = json.loads(times_file().read_text(encoding="utf-8"))
    except (FileNotFoundError, ProjectNotFound):
        return {}
    return content


def note_time(chapter: str, kind: str, seconds: float, peak_mib: float, machine: str) -> None:
    """Keep a measured time, rounded so that the file changes only when the time does. Raises ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"a running time is one of {', '.join(KINDS)}, got {kind!r}")
    times = known_times()
    times.setdefault(chapter, {})[kind] = {"seconds": _round(seconds), "peak_mib": round(peak_mib, -1), "machine": machine}
    write_json(times_file(), times)


def _round(seconds: float) -> int:
    return max(1, round(seconds)) if seconds < 20 else 5 * round(seconds / 5)


def running_times() -> None:
    """Say how long this chapter took when it was last measured, in each profile."""
    lab = context.get()
    times = known_times().get(lab.chapter if lab else "", {})
    parts = []
    if "quick" in times:
        first = f", and {_long(times['cold'])} the first time" if "cold" in times else ""
        parts.append(f"profile `quick` {_said(times['quick'])}{first}")
    if "paper" in times:
        parts.append(f"profile `paper` {_said(times['paper'])}")
    say("**Running time, measured:** " + "; ".join(parts) + "." if parts else "**Running time:** not measured yet.")


def _long(time: dict[str, Any]) -> str:
    seconds = time["seconds"]
    return f"{seconds} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _said(time: dict[str, Any]) -> str:
    return f"{_long(time)} and {time['peak_mib'] / 1024:.1f} GiB on {time['machine']}"
