"""``labkit scoreboard``: reported beside measured, with tolerance and verdict."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "write data/reproduced/SCOREBOARD.md: reported beside measured, hits and misses alike; --store takes in a run's results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where further results come from."""
    parser.add_argument("--store", metavar="RESULTS", type=Path, help="first take in a results.jsonl, as a plain run elsewhere wrote it")


def run(args: argparse.Namespace) -> int:
    """Take in results, renew the marks of what is stale, write the scoreboard, and show it."""
    from labkit.course.errors import CourseError
    from labkit.reporting import store_reproduced, write_scoreboard

    if args.store:
        if not args.store.is_file():
            raise CourseError(f"no such file: {args.store}")
        stored = store_reproduced(args.store)
        sys.stdout.write("".join(f"stored in data/reproduced: {figure}\n" for figure in stored) or "nothing of profile paper in it\n")
    path = write_scoreboard()
    sys.stdout.write(path.read_text(encoding="utf-8") + f"\n({path})\n")
    return 0
