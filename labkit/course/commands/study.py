"""``labkit study``: execute all chapters, then write the scoreboard and the book."""

from __future__ import annotations

import argparse
import sys

from labkit.course.commands import run as _run

HELP = "execute all chapters with a progress display, then write the scoreboard and the book"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``labkit run``."""
    _run.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the chapters; whatever failed, write the scoreboard and the book from what there is. Return the worst status."""
    from labkit.course.commands import book, scoreboard
    from labkit.course.errors import CourseError

    status = _run.run(args)
    sys.stdout.write("\n")
    for command, options in ((scoreboard, argparse.Namespace(store=None)), (book, argparse.Namespace(out=None))):
        try:
            status = max(status, command.run(options))
        except CourseError as error:  # no published notebook yet, or no Sphinx: the run's results are safe all the same
            sys.stderr.write(f"labkit study: {error}\n")
            status = max(status, 1)
    return status
