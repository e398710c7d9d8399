"""One chapter, run from top to bottom in one worker: what joblib sends to a process or to a machine of a cluster."""

from __future__ import annotations

import logging
import platform
import shutil
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labkit.course import percent, results
from labkit.course.chapters import Chapter


@dataclass(frozen=True)
class Task:
    """What a worker needs to know: a chapter, the run's folder (both on a file system that the worker sees), settings.

    ``runner``: (process id, creation time) of the runner on ``host``; its kernels end when it is gone.
    ``cell_timeout``: seconds that one cell may take, or None. ``cold``: with a cache that holds no trained models.
    """

    chapter: Chapter
    root: Path
    folder: Path
    profile: str
    seed: int
    engine: str = "papermill"
    threads: int = 1
    runner: tuple[int, float] = (0, 0.0)
    host: str = ""
    cell_timeout: float | None = None
    cold: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def events(self) -> Path:
        """The file to which this chapter's progress is appended."""
        return self.folder / "events" / f"{self.chapter.name}.jsonl"

    @property
    def record(self) -> Path:
        """The file that holds this chapter's record once it has ended."""
        return self.folder / "chapters" / f"{self.chapter.name}.json"

    @property
    def notebook(self) -> Path:
        """The executed notebook, or what there is of it when a cell failed."""
        return self.folder / "notebooks" / self.chapter.part / f"{self.chapter.name}.ipynb"


def execute(task: Task) -> dict[str, Any]:
    """Run one chapter and return its record, also written to ``task.record``. Never raises for what a chapter does."""
    from labkit.files import write_json

    task.events.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    record: dict[str, Any] = {
        "chapter": task.chapter.name, "number": task.chapter.number, "part": task.chapter.part, "status": "failed",
        "profile": task.profile, "seed": task.seed, "engine": task.engine, "threads": task.threads, "cells": [], "results": [],
        "device": None, "peak_mib": None, "error": None, "versions": results.versions(), **task.facts,
    }  # fmt: skip
    _event(task, type="started", cells=0)
    try:
        run = _papermill if task.engine == "papermill" else _plain
        record |= run(task)
    except Exception as error:  # the source could not be read, the kernel did not start, the disk is full, ...
        record |= {"status": "failed", "error": describe(error)}
    record["seconds"] = round(time.perf_counter() - began, 3)
    record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(task.record, record)
    _event(task, type=record["status"], seconds=record["seconds"], error=record["error"])
    return record


def describe(error: BaseException, **place: Any) -> dict[str, Any]:
    """Return an exception as a record's error; ``place`` may hold cell, line and source."""
    text = "".join(traceback.format_exception(error))
    return {"cell": None, "line": None, "source": "", "type": type(error).__name__, "message": str(error), "traceback": text} | place


def _event(task: Task, **what: Any) -> None:
    results.append_line(task.events, {"chapter": task.chapter.name, "time": time.time(), **what})


def _papermill(task: Task) -> dict[str, Any]:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from labkit.course import kernels, notebooks
    from labkit.files import write_text

    logging.getLogger("papermill").setLevel(logging.ERROR)
    text = task.chapter.path.read_text(encoding="utf-8")
    source = percent.parse(text, task.chapter.path.name)
    notebook = notebooks.to_notebook(text, task.chapter.name)
    positions = {cell["id"]: position for position, cell in enumerate(notebook.cells)}
    current = [0]

    def on_cell_start(cell: Any, cell_index: int) -> None:
        current[0] = positions.get(cell.get("id"), current[0])
        _event(task, type="cell", cell=current[0] + 1, cells=len(positions))

    partial = task.notebook.with_suffix(".partial.ipynb")
    partial.parent.mkdir(parents=True, exist_ok=True)
    incoming = partial.with_suffix(".input.ipynb")
    write_text(incoming, notebooks.dumps(notebook))
    environment = kernels.chapter_environment(task.root, task.threads)
    if task.cold:
        environment["LABKIT_CACHE"] = str(_cold_cache(task))
    watch = kernels.Watch(task.runner if task.host == platform.node() else None)
    manager = kernels.kernel_manager(environment, task.chapter.path.parent, task.events.with_suffix(".log"), watch.watch)
    error: dict[str, Any] | None = None
    try:
        papermill.execute_notebook(
            _literal(incoming), _literal(partial), parameters={"PROFILE": task.profile, "SEED": task.seed}, progress_bar=False,
            kernel_manager_class=manager, on_cell_start=on_cell_start, execution_timeout=task.cell_timeout,
        )  # fmt: skip
    except PapermillExecutionError as failure:
        error = describe(failure) | {"type": failure.ename, "message": failure.evalue, "traceback": "\n".join(failure.traceback)}
    except DeadKernelError as failure:
        cause = "its runner is gone" if watch.orphaned else f"out of memory? it held {watch.peak_mib:.0f} MiB"
        error = describe(failure) | {"message": f"the kernel died ({cause})"}
    except Exception as failure:  # a cell over its time limit, and whatever else nbclient raises
        error = describe(failure)
    finally:
        watch.close()
        shutil.rmtree(task.folder / "cold" / task.chapter.name, ignore_errors=True)
        incoming.unlink(missing_ok=True)
    if error is not None:
        cell = source.cells[current[0]]
        error |= {"cell": current[0] + 1, "line": cell.line, "source": cell.source}
    return _read_back(task, partial, positions, error) | {"peak_mib": round(watch.peak_mib)}


def _cold_cache(task: Task) -> Path:
    """Make a cache of the chapter's own, with the embedded data, which set-up builds, and without models."""
    from labkit.files import cache_dir

    folder = task.folder / "cold" / task.chapter.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(cache_dir("data"), folder / "data")
    return folder


def _read_back(task: Task, partial: Path, positions: dict[str, int], error: dict[str, Any] | None) -> dict[str, Any]:
    """Take the executed notebook apart, and put it where the run keeps it."""
    from labkit.course import notebooks
    from labkit.files import write_text

    if not partial.exists():
        return {"status": "failed", "error": error, "notebook": None}
    executed = notebooks.loads(partial.read_text(encoding="utf-8"))
    context, found = results.from_notebook(executed)
    ids = [cell.get("id") for cell in executed.cells]
    for result in found:
        result["cell"] = positions.get(ids[result["cell"]], result["cell"]) + 1
    cells = [
        {"cell": positions[cell["id"]] + 1, "seconds": round(cell.metadata["papermill"]["duration"], 3)}
        for cell in executed.cells
        if cell.cell_type == "code" and cell.get("id") in positions and cell.metadata.get("papermill", {}).get("duration") is not None
    ]
    write_text(task.notebook, notebooks.dumps(executed))
    partial.unlink()
    return {
        "status": "failed" if error else "ok", "error": error, "cells": cells, "results": found,
        "device": (context or {}).get("device"), "notebook": task.notebook.relative_to(task.folder).as_posix(),
    }  # fmt: skip


def _plain(task: Task) -> dict[str, Any]:
    from labkit.course import plain

    return plain.run_one(
        task.chapter.path, profile=task.profile, seed=task.seed, out=task.folder / "plain" / task.chapter.name,
        root=task.root, threads=task.threads, events=task.events, timeout=None,
    )  # fmt: skip


def _literal(path: Path) -> str:
    """Return a path for papermill, which would take braces in it for parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")
