"""A progress bar where tqdm is installed, silence where it is not (plain runs)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], *, total: int, text: str) -> Iterator[T]:
    """Yield ``items`` and show how far it is, on the standard error stream, once it has taken two seconds."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield from items
        return
    yield from tqdm(items, total=total, desc=text, leave=False, delay=2, mininterval=0.5)
