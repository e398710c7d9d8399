"""``labkit update``: bring the learner's copy to the newest course, losing nothing."""

from __future__ import annotations

import argparse
import sys

HELP = "bring your notebooks to the newest course; nothing that you changed is overwritten"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to choose."""


def run(args: argparse.Namespace) -> int:
    """Update the copy and say what was updated and what was kept."""
    from labkit.course import startpage, workcopy
    from labkit.course.progress import work_dir

    folder = work_dir()
    report = workcopy.update(folder)
    startpage.write(folder)
    lines = [f"new: {name}" for name in report.added]
    lines += [f"updated: {name}" for name in report.updated]
    for name, beside in report.kept:
        lines.append(f"kept: {name} holds your changes; the newer version lies beside it as {beside}")
    lines += [f"left out: {name}, which you deleted (labkit reset brings it back)" for name in report.deleted]
    lines += [f"kept: {name}, which is no longer part of the course" for name in report.gone]
    lines += [f"note: {notice}" for notice in report.notices]
    changes = len(report.added) + len(report.updated) + len(report.kept)
    lines.append("Reload notebooks that are open in JupyterLab." if changes else "Your notebooks are up to date.")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0
