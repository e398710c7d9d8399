"""Watching a run: a live table where a person looks at a terminal, one line per event where a log is kept."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.course import results

if TYPE_CHECKING:
    from rich.table import Table

    from labkit.course.runs import Run

STILL_RUNNING = 30.0  # seconds after which a log is told once more that a cell is still at work


@dataclass
class _Progress:
    """How one chapter stands."""

    name: str
    status: str = "waiting"
    cell: int = 0
    cells: int = 0
    began: float = 0.0
    seconds: float | None = None
    told: float = 0.0
    error: dict[str, Any] | None = None
    read: int = 0

    def elapsed(self) -> float:
        """Seconds since the chapter began, or that it took."""
        return self.seconds if self.seconds is not None else max(0.0, time.time() - self.began)


@contextmanager
def watching(run: Run, events: list[Path], *, quiet: bool = False) -> Iterator[None]:
    """Show how the chapters whose ``events`` files are given get on, for as long as the block lasts."""
    standing = {path: _Progress(path.stem) for path in events}
    if quiet or not events:
        yield
        return
    show = _Live(run, standing) if sys.stderr.isatty() else _Lines(run, standing)
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.2):
            _update(standing, show)

    watcher = threading.Thread(target=look, daemon=True)
    with show:
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
            _update(standing, show)


def _update(standing: dict[Path, _Progress], show: _Lines | _Live) -> None:
    for path, progress in standing.items():
        events = list(results.read_lines(path))
        for event in events[progress.read :]:
            kind = event["type"]
            if kind == "started":
                progress.status, progress.began, progress.told = "running", event["time"], event["time"]
            elif kind == "cell":
                progress.cell, progress.cells = event["cell"], event["cells"]
            else:
                progress.status, progress.seconds, progress.error = kind, event["seconds"], event["error"]
            show.event(progress, kind)
        progress.read = len(events)
    show.refresh()


class _Lines:
    """One line per event: begun, still at work, ended."""

    def __init__(self, run: Run, standing: dict[Path, _Progress]) -> None:
        self._standing = standing
        self._write(f"run {run.id}: {len(standing)} of {len(run.chapters)} chapters to run, profile {run.profile}, seed {run.seed}")

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def event(self, progress: _Progress, kind: str) -> None:
        """Tell the beginning and the end of a chapter."""
        if kind == "started":
            self._write(f"{progress.name}: started")
        elif kind != "cell":
            self._write(f"{progress.name}: {_outcome(progress)}")

    def refresh(self) -> None:
        """Tell now and then which cell is at work."""
        for progress in self._standing.values():
            if progress.status == "running" and time.time() - progress.told > STILL_RUNNING:
                progress.told = time.time()
                self._write(f"{progress.name}: cell {progress.cell}/{progress.cells}, {progress.elapsed():.0f} s")

    def _write(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


class _Live:
    """A table of the running chapters that is drawn again and again, above it a line for each one that has ended."""

    def __init__(self, run: Run, standing: dict[Path, _Progress]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._run, self._standing = run, standing
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(self._table(), console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> _Live:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(None, None, None)

    def event(self, progress: _Progress, kind: str) -> None:
        """Print a chapter's outcome above the table."""
        if kind not in ("started", "cell"):
            color = "green" if progress.status == "ok" else "red"
            self._console.print(f"{progress.name}: {_outcome(progress)}", style=color, markup=False)

    def refresh(self) -> None:
        """Draw the table again."""
        self._live.update(self._table())

    def _table(self) -> Table:
        from rich.table import Table

        ended = sum(progress.status in ("ok", "failed") for progress in self._standing.values())
        failed = sum(progress.status == "failed" for progress in self._standing.values())
        title = f"run {self._run.id}: {ended}/{len(self._standing)} chapters ended" + (f", {failed} failed" if failed else "")
        table = Table("chapter", "cell", "seconds", title=title, title_justify="left", expand=False)
        for progress in self._standing.values():
            if progress.status == "running":
                table.add_row(progress.name, f"{progress.cell}/{progress.cells or '?'}", f"{progress.elapsed():.0f}")
        return table


def _outcome(progress: _Progress) -> str:
    seconds = "" if progress.seconds is None else f" after {progress.seconds:.1f} s"
    return f"ok{seconds}" if progress.error is None else f"FAILED{seconds}: {explain(progress.error)}"


def explain(error: dict[str, Any]) -> str:
    """Return a record's error in one line: which cell, which line of the source, what happened."""
    place = f"cell {error['cell']} (line {error['line']}): " if error.get("cell") else ""
    message = (error["message"] or "").strip().split("\n")[0]
    return f"{place}{error['type']}: {message}"
