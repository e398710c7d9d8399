"""``labkit bench``: how close the attacks come to the limit of this machine."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

HELP = "measure labkit's attacks against their limit on this machine (tests/benchmarks)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is handed on."""
    parser.add_argument("pytest", nargs="*", help="further options for pytest, after --")


def run(args: argparse.Namespace) -> int:
    """Run the benchmarks one after the other, showing what they print, and return pytest's status."""
    from labkit.course.errors import CourseError
    from labkit.files import project_root

    folder = project_root() / "tests" / "benchmarks"
    if not folder.is_dir():
        raise CourseError(f"no benchmarks in {folder}")
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", str(folder), *args.pytest]
    return subprocess.run(command, cwd=project_root(), env=dict(os.environ) | {"LABKIT_BENCH": "1"}, check=False).returncode
