"""Progress that suits its reader: a bar for a person who watches, one line in a published notebook or a log."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")


def progress(iterable: Iterable[T], desc: str, *, total: int | None = None, unit: str = "step") -> Iterator[T]:
    """Yield from ``iterable``, showing how far it is.

    A bar in a terminal or a live notebook, from half a second on; exactly one line at the end where
    ``LABKIT_PROGRESS=line`` (papermill) or where nobody watches (output to a file). The line carries no seconds, so that
    a published notebook does not change from run to run.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if _watched():
        try:
            from tqdm.auto import tqdm
        except ImportError:
            pass
        else:
            yield from tqdm(iterable, desc=desc, total=total, unit=unit, delay=0.5, dynamic_ncols=True)
            return
    done = 0
    try:
        for item in iterable:
            yield item
            done += 1
    finally:  # also after a break or an exception: the line then says how far it came
        plural = "" if done == 1 else "es" if unit.endswith(("s", "x", "ch", "sh")) else "s"
        of = f"{done:,} of {total:,}" if total is not None and done != total else f"{done:,}"
        sys.stdout.write(f"{desc}: {of} {unit}{plural}\n")
        sys.stdout.flush()


def _watched() -> bool:
    mode = os.environ.get("LABKIT_PROGRESS", "")
    if mode == "line":
        return False
    from labkit.reporting.emit import in_notebook

    return mode == "bar" or in_notebook() or sys.stderr.isatty()
