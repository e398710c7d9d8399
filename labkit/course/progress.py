"""A learner's own progress: which checks passed, how often they were tried, how many hints were seen.

It is kept in ``.progress.json`` of the learner's folder and nowhere else. Where there is no learner (the runner, the tests,
an author) nothing is recorded.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labkit import files

FILE = ".progress.json"


@dataclass
class Entry:
    """One exercise's record. ``status`` is the last outcome; ``passed`` the day of the first success, or empty."""

    status: str = "not attempted"
    attempts: int = 0
    hints: int = 0
    passed: str = ""


@dataclass
class Progress:
    """All records by exercise id. ``notice``: what the learner should know about the file, usually empty."""

    exercises: dict[str, Entry] = field(default_factory=dict)
    notice: str = ""

    def passed(self, id: str) -> bool:
        """Whether this exercise's check has passed at least once."""
        return id in self.exercises and bool(self.exercises[id].passed)


def work_dir() -> Path:
    """Return the learner's folder: ``LABKIT_WORK`` if set, else ``work`` in the checkout. It need not exist."""
    if override := os.environ.get("LABKIT_WORK"):
        return Path(override).expanduser().resolve()
    return files.project_root() / "work"


def recording() -> Path | None:
    """Return the folder to record in, or None where nobody is learning.

    A learner is someone whose server set ``LABKIT_WORK``, or whose kernel runs inside the learner's folder (VS Code, PyCharm).
    """
    if os.environ.get("LABKIT_WORK"):
        return work_dir()
    try:
        folder = work_dir()
        return folder if Path.cwd().resolve().is_relative_to(folder) else None
    except (files.ProjectNotFound, OSError):
        return None


def load(folder: Path) -> Progress:
    """Read the progress stored in ``folder``. A damaged file is moved aside, never deleted, and ``notice`` says so."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Progress({str(id): _entry(record) for id, record in content["exercises"].items()})
    except FileNotFoundError:
        return Progress()
    except (ValueError, KeyError, TypeError, AttributeError):
        aside = set_aside(path, "damaged")
        return Progress(notice=f"the progress file was damaged; it now lies beside as {aside.name}, and counting starts anew")


def note_check(id: str, status: str) -> str:
    """Record the outcome of a check. Returns a notice for the learner, usually empty. Raises OSError when it cannot be written."""

    def change(entry: Entry) -> None:
        entry.status = status
        if status != "not attempted":
            entry.attempts += 1
        if status == "passed" and not entry.passed:
            entry.passed = time.strftime("%Y-%m-%d")

    return _update(id, change)


def note_hint(id: str, number: int) -> str:
    """Record that hint ``number`` was shown. Returns a notice for the learner, usually empty."""

    def change(entry: Entry) -> None:
        entry.hints = max(entry.hints, number)

    return _update(id, change)


def set_aside(path: Path, why: str) -> Path:
    """Rename ``path`` to ``name.why-date-time.ext`` and return the new path."""
    aside = free_name(path, why)
    os.replace(path, aside)
    return aside


def free_name(path: Path, why: str) -> Path:
    """Return a path beside ``path``, ``name.why-date-time.ext``, that no file has yet."""
    stamp, tries = time.strftime("%Y%m%d-%H%M%S"), 1
    free = path.with_name(f"{path.stem}.{why}-{stamp}{path.suffix}")
    while free.exists():
        tries += 1
        free = path.with_name(f"{path.stem}.{why}-{stamp}-{tries}{path.suffix}")
    return free


def _update(id: str, change: Callable[[Entry], None]) -> str:
    folder = recording()
    if folder is None:
        return ""
    path = folder / FILE
    with files.lock(path):  # several notebooks may be open at once
        progress = load(folder)
        change(progress.exercises.setdefault(id, Entry()))
        files.write_json(path, {"version": 1, "exercises": {key: asdict(entry) for key, entry in progress.exercises.items()}})
    return progress.notice


def _entry(record: dict[str, Any]) -> Entry:
    return Entry(str(record["status"]), int(record["attempts"]), int(record["hints"]), str(record["passed"]))
