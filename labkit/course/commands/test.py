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
    """Check the published notebooks with nbval, then run all tests; return pytest's status, 0 only if both are green.

    The notebooks come first: what they train, the tests of chapters find in the cache.
    """
    from labkit.course import suite
    from labkit.files import project_root

    root = project_root()
    wrong = suite.check_notebooks(root, sorted((root / "chapters").glob("*/*.ipynb")), jobs=args.jobs)
    everything = suite.arguments(root, None, jobs=args.jobs) + list(args.pytest)
    status = subprocess.run(everything, cwd=root, env=suite.environment(args.jobs), check=False).returncode
    return status or min(wrong, 1)
