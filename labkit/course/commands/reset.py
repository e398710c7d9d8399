"""``labkit reset 10``: one chapter afresh; the old notebook is kept beside it."""

from __future__ import annotations

import argparse
import sys

HELP = "give one chapter afresh (labkit reset 10) and keep your old notebook beside it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which chapter."""
    parser.add_argument("chapters", nargs="+", metavar="CHAPTER", help="a chapter's number or name; several are possible")


def run(args: argparse.Namespace) -> int:
    """Reset the chapters named and say where the old notebooks are."""
    from labkit.course import chapters, workcopy

    lines = []
    for chapter in chapters.find(",".join(args.chapters)):
        path, kept = workcopy.reset(chapter)
        lines.append(f"{path} is as delivered; " + (f"your old notebook is {kept.name}, beside it" if kept else "there was none before"))
    sys.stdout.write("\n".join([*lines, "Reload it if it is open in JupyterLab. Your exercise results are kept."]) + "\n")
    return 0
