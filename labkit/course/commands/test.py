"""``labkit test``: everything that continuous integration runs."""

from __future__ import annotations

import argparse
import subprocess

HELP = "run everything that CI runs: unit tests, lint, every chapter, nbval, pair checks (options after -- go to pytest)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how many at once, and what is handed on."""
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="tests at once; 0 (default): one per core")
    parser.add_argument("pytest", nargs="*", help="further options for pytest, after --")


def run(args: argparse.Namespace) -> int:
    """Run the tests as one pytest and return its status."""
    from labkit.course import suite
    from labkit.files import project_root

    root = project_root()
    command = suite.arguments(root, root / "chapters", jobs=args.jobs) + list(args.pytest)
    return subprocess.run(command, cwd=root, env=suite.environment(args.jobs), check=False).returncode
