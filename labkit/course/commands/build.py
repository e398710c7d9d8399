"""``labkit build``: make ahead of time what every chapter needs, so that the first one opens at once."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

HELP = "build the embedded data and train chapter 00's model (a minute the first time, then seconds)"

EMBEDDED = ("signs", "digits", "tumors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has no options: what is there already is only looked at."""


def run(args: argparse.Namespace) -> int:
    """Build what is missing, saying what is done and how long it took."""
    from labkit.files import cache_dir

    _say(f"building in {cache_dir()}; what is there already is only looked at")
    from labkit import data

    for name in EMBEDDED:
        _step(f"data set {name}", lambda name=name: data.load(name))  # type: ignore[misc]
    start_model = getattr(importlib.import_module("labkit.course"), "start_model", None)
    if start_model is not None:
        _step("chapter 00's model", start_model)
    return 0


def _step(what: str, make: Callable[[], Any]) -> None:
    begin = time.perf_counter()
    sys.stdout.write(f"{what} ... ")
    sys.stdout.flush()
    said = make()
    if isinstance(said, str):
        sys.stdout.write(f"{said}, ")
    _say(f"ready after {time.perf_counter() - begin:.1f} s")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
