"""What goes wrong in running a course, said so that the reader knows what to do next."""

from __future__ import annotations

from collections.abc import Iterable


class CourseError(RuntimeError):
    """A request that cannot be met; the command line shows its text alone and returns 2."""


def did_you_mean(word: str, known: Iterable[str], *, count: int = 3) -> str:
    """Return "; did you mean ...?" with the nearest known words, or an empty string when none is near."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=count, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
