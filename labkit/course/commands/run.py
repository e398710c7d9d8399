"""``labkit run``: execute chapters, gather their numbers, and publish the paired notebooks on request."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.course.runs import Run

HELP = "execute chapters (10,40 or attacks or 10-15; default: all), gather their numbers; --publish writes the paired notebooks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what to run, how, and what to do with it."""
    parser.add_argument("chapters", nargs="*", help="numbers, ranges, names or parts; several may be joined by commas")
    parser.add_argument("--profile", choices=("quick", "paper", "smoke"), default="quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="chapters at once; 0: as many as fit; 1 notes running times")
    parser.add_argument("--backend", choices=("loky", "dask"), default="loky", help="where to run: processes here, or a Dask cluster")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="the Dask scheduler, as tcp://127.0.0.1:8786; its workers see this folder")
    parser.add_argument("--plain", action="store_true", help="execute the sources as plain Python, without Jupyter")
    parser.add_argument("--name", help="name of the run's folder below runs/ (default: date, time and profile)")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run (or 'last') without redoing what has ended well")
    parser.add_argument("--changed", action="store_true", help="take over what an earlier run did with the same source, code and settings")
    parser.add_argument("--cell-timeout", type=float, metavar="SECONDS", help="give up a chapter when one of its cells takes longer")
    parser.add_argument("--cold", action="store_true", help="start each chapter without trained models, to time the first visit")
    parser.add_argument("--publish", action="store_true", help="write the paired notebooks (profile quick, seed 0)")


def run(args: argparse.Namespace) -> int:
    """Run, summarize, publish; return 1 when a chapter failed."""
    from labkit.course import chapters, runner
    from labkit.course.errors import CourseError
    from labkit.files import project_root

    if args.jobs < 0:
        raise CourseError(f"--jobs {args.jobs}: a number of chapters, or 0 for as many as fit")
    if args.cold and args.publish:
        raise CourseError("--cold is for timing; publish without it")
    if args.publish and (args.profile != "quick" or args.seed != 0 or args.plain):
        raise CourseError("--publish is for profile quick, seed 0, with Jupyter: what everybody's notebook shows")
    root = project_root()
    options = runner.Options(args.jobs, args.backend, args.scheduler, args.changed, args.cell_timeout, cold=args.cold)
    if args.resume:
        done = runner.resume(root, args.resume, options)
        if args.publish and (done.profile, done.seed, done.engine) != ("quick", 0, "papermill"):
            raise CourseError(f"run {done.id} has profile {done.profile}, seed {done.seed}: --publish is for profile quick, seed 0")
    else:
        chosen = chapters.find(",".join(args.chapters) or None, root)
        engine = "plain" if args.plain else "papermill"
        done = runner.run_chapters(chosen, root, profile=args.profile, seed=args.seed, engine=engine, name=args.name, options=options)
    status = summarize(done)
    if args.publish:
        from labkit.course import publish

        status = max(status, publish.publish_run(done, root))
    keep(done, cold=args.cold)
    return status


def keep(done: Run, *, cold: bool = False) -> None:
    """Note what is worth keeping of a run: running times, and what profile paper measured."""
    from labkit.course import report

    for line in (*report.note_times(done, cold=cold), *report.store_measured(done)):
        sys.stdout.write(line + "\n")


def summarize(done: Run) -> int:
    """Show what each chapter took and what failed; return 1 when something did."""
    from labkit.course.report import summary

    text, failed = summary(done)
    sys.stdout.write(text)
    return 1 if failed else 0
