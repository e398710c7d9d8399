"""Which chapters there are, and which of them a reader means by ``10,40``, ``attacks`` or ``10-15``."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from labkit.course.errors import CourseError, did_you_mean

PARTS = ("foundations", "attacks", "detection", "defenses", "practice")
_FILE = re.compile(r"(\d+)_\w+\.py")


class UnknownChapter(CourseError):
    """No chapter has this number, name or part."""


@dataclass(frozen=True, order=True)
class Chapter:
    """One chapter: its number (10), name ("10_evasion_gradient"), part ("attacks") and source file."""

    number: int
    name: str
    part: str
    path: Path

    @property
    def notebook(self) -> Path:
        """The paired notebook, beside the source."""
        return self.path.with_suffix(".ipynb")


def all_chapters(root: Path | None = None) -> list[Chapter]:
    """Return the chapters of the checkout at ``root`` (default: the project's root), by number.

    Raises CourseError when two chapters share a number: a number must name one chapter.
    """
    if root is None:
        from labkit.files import project_root

        root = project_root()
    found = [
        Chapter(int(match.group(1)), path.stem, path.parent.name, path)
        for path in sorted((root / "chapters").glob("*/*.py"))
        if (match := _FILE.fullmatch(path.name))
    ]
    found.sort()
    for one, other in itertools.pairwise(found):
        if one.number == other.number:
            raise CourseError(f"chapters {one.part}/{one.name} and {other.part}/{other.name} share the number {one.number}")
    return found


def find(selector: str | None, root: Path | None = None) -> list[Chapter]:
    """Return the chapters that ``selector`` names, by number, each once; None, "" and "all" name every chapter.

    Its comma-separated items are numbers (``10``), ranges (``10-15``), names (``10_evasion_gradient``,
    ``evasion_gradient``), parts (``attacks``) or paths of sources. Raises UnknownChapter, with near matches.
    """
    known = all_chapters(root)
    items = [item.strip() for item in (selector or "all").split(",") if item.strip()]
    if not items:
        raise UnknownChapter(f"{selector!r} names no chapter")
    chosen: set[Chapter] = set()
    for item in items:
        chosen.update(_match(item, known))
    return sorted(chosen)


def _match(item: str, known: list[Chapter]) -> list[Chapter]:
    if item == "all":
        return known
    if span := re.fullmatch(r"(\d+)\s*-\s*(\d+)", item):
        low, high = int(span.group(1)), int(span.group(2))
        matches = [chapter for chapter in known if low <= chapter.number <= high]
    elif item.isdigit():
        matches = [chapter for chapter in known if chapter.number == int(item)]
    else:
        # A path is as good as a name: shells complete paths.
        name = Path(item).stem if item.endswith((".py", ".ipynb")) else item
        matches = [chapter for chapter in known if name in (chapter.name, chapter.name.partition("_")[2], chapter.part)]
    if not matches:
        raise UnknownChapter(f"no chapter {item!r}{_near(item, known)}")
    return matches


def _near(item: str, known: list[Chapter]) -> str:
    if not known:
        return ": there are no chapters in this checkout"
    if item.isdigit():
        close = sorted(known, key=lambda chapter: (abs(chapter.number - int(item)), chapter.number))[:3]
        return f"; did you mean {' or '.join(chapter.name for chapter in sorted(close))}?"
    words = {chapter.name for chapter in known} | {chapter.part for chapter in known}
    bare = {chapter.name.partition("_")[2]: chapter.name for chapter in known}
    hint = did_you_mean(item, words | set(bare))
    return hint or f"; the chapters are {', '.join(chapter.name for chapter in known)}"
