"""``labkit doctor``: look at the installation, and name the remedy of each problem."""

from __future__ import annotations

import argparse
import sys

HELP = "look at Python, packages, device, memory, caches and data; name the remedy of each problem"
_MARKS = {"good": "ok     ", "note": "note   ", "problem": "PROBLEM"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to choose."""


def run(args: argparse.Namespace) -> int:
    """Show every finding; return 1 when something essential is wrong."""
    from labkit.course import doctor

    findings = doctor.examine()
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        sys.stdout.write(f"{_MARKS[finding.grade]}  {finding.what:<{width}}  {finding.found}\n")
        if finding.remedy:
            sys.stdout.write(f"{'':>{width + 11}}{finding.remedy}\n")
    problems = sum(finding.grade == "problem" for finding in findings)
    verdict = f"{problems} problem{'s' if problems > 1 else ''} to mend." if problems else "The course can run here."
    sys.stdout.write(f"\n{verdict}\n")
    return 1 if problems else 0
