"""One way to show that long work goes on: a bar where a person watches, one line where a log is kept."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], description: str, *, total: int | None = None, threshold: float = 2.0) -> Iterator[T]:
    """Yield the items, showing a bar once the work has taken ``threshold`` seconds.

    With ``LABKIT_PROGRESS=line`` (executed notebooks, logs) nothing moves: the bar becomes one line at the end;
    with ``LABKIT_PROGRESS=off`` nothing is shown. Without tqdm, or on a stream that is no terminal, one line as well.
    """
    mode = os.environ.get("LABKIT_PROGRESS", "")
    draw = _bar if mode == "" and (sys.stderr.isatty() or "ipykernel" in sys.modules) else None
    if total is None and isinstance(items, Sized):
        total = len(items)
    start, count, bar = time.perf_counter(), 0, None
    try:
        for item in items:
            yield item
            count += 1
            if bar is not None:
                bar.update()
            elif draw is not None and time.perf_counter() - start > threshold:
                bar = draw(description, total, count)
                draw = draw if bar is not None else None
    finally:
        if bar is not None:
            bar.close()
    if bar is None and mode != "off" and draw is None and time.perf_counter() - start > threshold:
        _say(f"{description}: {count} done")


def _bar(description: str, total: int | None, count: int) -> Any:
    """Return a bar, or None without tqdm. Made late: in a notebook even one that is never shown costs dozens of messages."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(desc=description, total=total, initial=count, leave=False, mininterval=0.5)


def _say(line: str) -> None:
    """Write a line; in a notebook as an output of its own that is marked, so that the publisher can leave it out."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        sys.stderr.write(line + "\n")
    else:
        shell.display_pub.publish({"text/plain": line}, metadata={"labkit": "progress"})
