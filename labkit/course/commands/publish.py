"""``labkit publish``: the same as ``labkit run --publish``."""

from __future__ import annotations

import argparse

from labkit.course.commands import run as _run

HELP = "run chapters in profile quick and write the paired notebooks (the same as run --publish)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``labkit run``."""
    _run.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run and publish."""
    args.publish = True
    return _run.run(args)
