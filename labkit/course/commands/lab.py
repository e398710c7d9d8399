"""``labkit lab``: open JupyterLab on the learner's copy of the notebooks."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.course.lab import Server

HELP = "open JupyterLab on your copy of the notebooks (--check: start, look, stop; --author: on the sources)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how to open the lab."""
    parser.add_argument("--check", action="store_true", help="start, see that the page and the first notebook answer, and stop")
    parser.add_argument("--author", action="store_true", help="open chapters/ itself; Jupytext keeps sources and notebooks equal")
    parser.add_argument("--port", type=int, default=8888, help="first port to try (default 8888)")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open nothing")
    parser.add_argument("--no-build", action="store_true", help="do not build the embedded data and the first model beforehand")


def run(args: argparse.Namespace) -> int:
    """Prepare the copy, start the server, and serve until Ctrl-C. Returns 0, or 1 when the server ended by itself."""
    from labkit.course import lab
    from labkit.course.progress import work_dir
    from labkit.files import project_root

    if not args.no_build:
        status = _build()
        if status:
            return status
    if args.author:
        folder, page, first = project_root(), "/lab/tree/chapters", _first_source()
    else:
        folder, page = work_dir(), "/lab/tree/start.ipynb"
        first = prepare(folder)
    if args.check:
        server = lab.start(folder, page, author=args.author, port=args.port)
        try:
            lab.verify(server, first)
        finally:
            server.stop()
        _say(f"JupyterLab answers at {server.url}{page}, and {first} opens.")
        return 0
    already = lab.running(folder, page, author=args.author)
    if already is not None:
        _say("The lab is open already. Its address, for your browser:", "", f"    {already.link}", "")
        if not args.no_browser:
            lab.open_browser(already)
        return 0
    return _serve(lab.start(folder, page, author=args.author, port=args.port), browser=not args.no_browser)


def _serve(server: Server, *, browser: bool) -> int:
    """Show the address and wait. Ctrl-C, closing the terminal, or ``kill`` stop the server with its kernels."""
    from labkit.course import lab

    assert server.process is not None, "a server that was started has a process"
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    try:
        opened = browser and lab.open_browser(server)
        where = "The lab is open in your browser. Its address:" if opened else "The lab is open. Its address, for your browser:"
        _say(where, "", f"    {server.link}", "", f"Ctrl-C stops it. (Log: {server.log})")
        status = server.process.wait()
    except KeyboardInterrupt:
        _say("Stopping the lab; your notebooks are saved as you left them.")
        server.stop()
        return 0
    if status:
        sys.stderr.write(f"JupyterLab ended with status {status}\n{lab.tail(server.log)}\n")
    return 1 if status else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def prepare(folder: Path) -> str:
    """Make or complete the learner's copy; return the path of the notebook to begin with."""
    from labkit.course import startpage, workcopy
    from labkit.course.chapters import all_chapters

    report = workcopy.prepare(folder)
    startpage.write(folder)
    if report.added:
        _say(f"Copied {len(report.added)} notebooks to {folder}: yours to edit.")
    if report.waiting:
        _say(f"The course has newer versions of {len(report.waiting)} notebooks. `labkit update` brings them and keeps your changes.")
    for notice in report.notices:
        _say(f"Note: {notice}.")
    there = [name for name in map(workcopy.relative_name, all_chapters()) if (folder / name).exists()]
    return there[0] if there else startpage.FILE


def _first_source() -> str:
    from labkit.course.chapters import all_chapters
    from labkit.course.errors import CourseError
    from labkit.files import project_root

    chapters = all_chapters()
    if not chapters:
        raise CourseError("there are no chapters in this checkout")
    return chapters[0].path.relative_to(project_root()).as_posix()


def _build() -> int:
    """Build what the chapters need, if it is not there yet; a second time this takes a moment."""
    from labkit.course.cli import main

    return main(["build"])


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
