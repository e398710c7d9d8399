"""A run's folder: what was asked, what has ended, what came out. Everything in it survives a kill at any moment.

``state.json`` says what was asked and how each chapter stands; ``chapters/NAME.json`` is a chapter's record, written by
the worker the moment it ends; ``notebooks/`` holds executed notebooks, ``events/`` the progress, ``results.jsonl`` the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from labkit.course import results
from labkit.course.chapters import Chapter
from labkit.course.errors import CourseError, did_you_mean


@dataclass
class Run:
    """One run: ``folder`` is ``runs/<id>``; ``chapters`` are the names asked for, in order."""

    folder: Path
    profile: str = "quick"
    seed: int = 0
    engine: str = "papermill"
    chapters: list[str] = field(default_factory=list)
    created: str = ""

    @property
    def id(self) -> str:
        """The run's name, which ``--resume`` takes."""
        return self.folder.name

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the records of the chapters that have ended, in the order asked for."""
        found = {name: _read(self.folder / "chapters" / f"{name}.json") for name in self.chapters}
        return {name: record for name, record in found.items() if record is not None}

    def save(self) -> None:
        """Write ``state.json`` and ``results.jsonl`` from what has ended so far, each atomically."""
        from labkit.files import write_json, write_text

        records = self.records()
        state = asdict(self) | {"folder": None, "id": self.id}
        state["chapters"] = {name: _standing(records.get(name)) for name in self.chapters}
        state["ended"] = len(records) == len(self.chapters)
        del state["folder"]
        write_json(self.folder / "state.json", state)
        lines = results.results_lines(self.id, records.values())
        write_text(self.folder / "results.jsonl", "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))


def _standing(record: dict[str, Any] | None) -> dict[str, Any]:
    if record is None:
        return {"status": "waiting"}
    return {key: record.get(key) for key in ("status", "seconds", "peak_mib", "source_sha256")}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return record


def create(where: Path, chapters: Iterable[Chapter], *, profile: str, seed: int, engine: str, name: str | None = None) -> Run:
    """Make the folder of a new run below ``where``. Raises CourseError when the name is taken or cannot be a folder's name."""
    now = datetime.now()
    stem = name or f"{now:%Y%m%d-%H%M%S}-{profile}"
    if Path(stem).name != stem or stem in ("", ".", ".."):
        raise CourseError(f"{stem!r} cannot be the name of a run's folder")
    for count in range(100):
        folder = where / (f"{stem}-{count}" if count else stem)
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            if name:
                raise CourseError(f"run {name!r} is there already; continue it with --resume {name}, or choose another name") from None
    run = Run(folder, profile, seed, engine, [chapter.name for chapter in chapters], now.isoformat(timespec="seconds"))
    run.save()
    return run


def load(root: Path, name: str) -> Run:
    """Return the run ``name``, or the newest one for "last". Raises CourseError, with near matches, when there is none."""
    known = {run.id: run for run in all_runs(root)}
    if name == "last" and known:
        return max(known.values(), key=lambda run: (run.created, run.id))
    if name not in known:
        raise CourseError(f"no run {name!r} in {root / 'runs'}{did_you_mean(name, known)}")
    return known[name]


def all_runs(root: Path) -> Iterator[Run]:
    """Yield the runs of a checkout; folders without a readable state are passed over."""
    for path in sorted((root / "runs").glob("*/state.json")):
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            yield Run(path.parent, state["profile"], state["seed"], state["engine"], list(state["chapters"]), state["created"])
        except (ValueError, KeyError):
            continue


def earlier(root: Path, key: str, name: str) -> tuple[Run, dict[str, Any]] | None:
    """Return the newest run in which chapter ``name`` succeeded with the same ``key`` (see `results.key`), and its record."""
    for run in sorted(all_runs(root), key=lambda run: (run.created, run.id), reverse=True):
        record = _read(run.folder / "chapters" / f"{name}.json")
        if record is not None and record["status"] == "ok" and record.get("key") == key:
            return run, record
    return None
