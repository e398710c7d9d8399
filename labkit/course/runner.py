"""Run many chapters: several at once, resumable after a kill, one failure never hiding another."""

from __future__ import annotations

import logging
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labkit.course import results, runs
from labkit.course.chapters import Chapter, all_chapters
from labkit.course.errors import CourseError
from labkit.course.execute import Task, describe, execute
from labkit.course.runs import Run
from labkit.course.watching import watching


@dataclass(frozen=True)
class Options:
    """How to run: ``jobs`` chapters at once (0: as many as fit), ``backend`` "loky" or "dask" with its ``scheduler``.

    ``changed``: take over what an earlier run measured with the same source, code, profile and seed.
    ``cell_timeout``: seconds that one cell may take. ``quiet``: show nothing. ``cold``: each chapter finds the embedded
    data, but no trained model.
    """

    jobs: int = 0
    backend: str = "loky"
    scheduler: str | None = None
    changed: bool = False
    cell_timeout: float | None = None
    quiet: bool = False
    cold: bool = False


def run_chapters(
    chapters: list[Chapter], root: Path, *, profile: str = "quick", seed: int = 0, engine: str = "papermill",
    name: str | None = None, options: Options = Options(), where: Path | None = None,
) -> Run:  # fmt: skip
    """Run ``chapters`` in a new folder below ``where`` (``root/runs``) and return the run; its records tell what failed.

    ``engine``: "papermill" or "plain". Raises CourseError for an unknown profile, engine or backend, or a scheduler
    that does not answer; never for what a chapter does.
    """
    if profile not in ("quick", "paper", "smoke"):
        raise CourseError(f"unknown profile {profile!r}; the profiles are 'quick', 'paper' and 'smoke'")
    if engine not in ("papermill", "plain"):
        raise CourseError(f"unknown engine {engine!r}; the engines are 'papermill' and 'plain'")
    if not chapters:
        raise CourseError("no chapter to run")
    run = runs.create(where or root / "runs", chapters, profile=profile, seed=seed, engine=engine, name=name)
    return _continue(run, chapters, root, options)


def resume(root: Path, name: str, options: Options = Options()) -> Run:
    """Go on with a run that was stopped or killed: what failed, did not end, or has a new source is run; the rest is kept.

    Raises CourseError when there is no such run, it is still going on, or a chapter of it is gone.
    """
    run = runs.load(root, name)
    known = {chapter.name: chapter for chapter in all_chapters(root)}
    gone = [chapter for chapter in run.chapters if chapter not in known]
    if gone:
        raise CourseError(f"run {run.id} had chapters that this checkout has not: {', '.join(gone)}; start a new run")
    return _continue(run, [known[chapter] for chapter in run.chapters], root, options)


def _continue(run: Run, chapters: list[Chapter], root: Path, options: Options) -> Run:
    from filelock import FileLock, Timeout

    try:
        with FileLock(run.folder / ".lock", timeout=0):
            _run(run, chapters, root, options)
    except Timeout:
        raise CourseError(f"run {run.id} is still going on in another process") from None
    return run


def _run(run: Run, chapters: list[Chapter], root: Path, options: Options) -> None:
    from labkit.course.kernels import identity

    code, commit = results.code_sha256(), results.commit(root)
    tasks = []
    kept = run.records()
    for chapter in chapters:
        source = _sha256(chapter)
        key = results.key(source, code, run.profile, run.seed, run.engine)
        record = kept.get(chapter.name)
        if record is not None and record["status"] == "ok" and record.get("source_sha256") == source:
            continue
        if options.changed and _take_over(run, chapter, root, key):
            continue
        (run.folder / "chapters" / f"{chapter.name}.json").unlink(missing_ok=True)
        facts = {"source_sha256": source, "code_sha256": code, "commit": commit, "key": key}
        tasks.append(
            Task(chapter, root, run.folder, run.profile, run.seed, run.engine, runner=identity(), host=platform.node(),
                 cell_timeout=options.cell_timeout, cold=options.cold, facts=facts)
        )  # fmt: skip
    run.save()
    jobs = options.jobs or default_jobs(run.profile, len(tasks))
    threads = max(1, _cores() // jobs)
    tasks = [replace(task, threads=threads) for task in tasks]
    for task in tasks:
        task.events.unlink(missing_ok=True)
    try:
        with watching(run, [task.events for task in tasks], quiet=options.quiet):
            while tasks:
                tasks = _round(run, tasks, jobs, options)
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what the interrupt cut short need not be told
        sys.stderr.write(f"stopped; go on with: labkit run --resume {run.id}\n")
        raise
    finally:
        run.save()


def _round(run: Run, tasks: list[Task], jobs: int, options: Options) -> list[Task]:
    """Run ``tasks``; return those that a dead worker process left undone. The chapters that it ran count as failed."""
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    from labkit.files import write_json

    try:
        with _backend(options, jobs) as settings:
            for record in Parallel(**settings, return_as="generator_unordered")(delayed(execute)(task) for task in tasks):
                _keep(run, record)
        return []
    except BrokenProcessPool as error:
        left = [task for task in tasks if not task.record.exists()]
        started = [task for task in left if task.events.exists()]
        for task in started:
            failure = describe(error, message="the worker process died (killed, or out of memory?)")
            record = {"chapter": task.chapter.name, "number": task.chapter.number, "part": task.chapter.part, "status": "failed",
                      "profile": task.profile, "seed": task.seed, "engine": task.engine, "cells": [], "results": [], "seconds": None,
                      "error": failure, **task.facts}  # fmt: skip
            write_json(task.record, record)
            results.append_line(task.events, {"type": "failed", "chapter": task.chapter.name, "seconds": None, "error": failure})
        run.save()
        if not started:  # the workers die before they begin: trying again would go on for ever
            raise CourseError("the worker processes die as soon as they start; try --jobs 1") from error
        return [task for task in left if task not in started]


def _keep(run: Run, record: dict[str, Any]) -> None:
    """Note that a chapter ended. Its worker wrote the record; on a cluster it may reach this file system late, so write it again."""
    from labkit.files import write_json

    path = run.folder / "chapters" / f"{record['chapter']}.json"
    if not path.exists():
        write_json(path, record)
    run.save()


@contextmanager
def _backend(options: Options, jobs: int) -> Iterator[dict[str, Any]]:
    """Yield joblib's settings. Dask: any scheduler whose workers see the checkout under the same path."""
    if options.backend == "loky":
        from joblib.externals.loky import get_reusable_executor

        try:
            yield {"n_jobs": jobs, "backend": "loky", "batch_size": 1, "pre_dispatch": "all"}
        finally:
            if jobs > 1:
                get_reusable_executor().shutdown(wait=True)
        return
    if options.backend != "dask":
        raise CourseError(f"unknown backend {options.backend!r}; the backends are 'loky' and 'dask'")
    if not options.scheduler:
        raise CourseError("--backend dask needs --scheduler ADDRESS, as in tcp://127.0.0.1:8786")
    try:
        from distributed import Client
    except ImportError as error:
        raise CourseError("--backend dask needs the package distributed: pip install 'labkit[dask]'") from error
    from joblib import parallel_config

    try:
        client = Client(options.scheduler, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise CourseError(f"no dask scheduler answers at {options.scheduler} ({error})") from error
    with client, parallel_config(backend="dask", client=client):
        yield {"n_jobs": -1, "batch_size": 1}


def _take_over(run: Run, chapter: Chapter, root: Path, key: str) -> bool:
    """Copy the record and notebook of an earlier run in which nothing was different; return whether there was one."""
    from labkit.files import write_json

    found = runs.earlier(root, key, chapter.name)
    if found is None:
        return False
    before, record = found
    if record.get("notebook"):
        source, target = before.folder / record["notebook"], run.folder / record["notebook"]
        if not source.exists():
            return False
        if source != target:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    write_json(run.folder / "chapters" / f"{chapter.name}.json", record | {"from_run": record.get("from_run") or before.id})
    return True


def default_jobs(profile: str, count: int) -> int:
    """Return how many chapters to run at once: one per core and per 2 GiB of free memory, but one alone in profile paper on a GPU."""
    import psutil

    if profile == "paper":
        return 1  # a chapter's paper budget is meant for the whole machine
    memory = int(psutil.virtual_memory().available // (2 * 2**30))
    return max(1, min(_cores(), memory, count, 8))


def _cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())


def _sha256(chapter: Chapter) -> str:
    from labkit.course.notebooks import source_sha256

    return source_sha256(chapter.path)
