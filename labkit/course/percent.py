"""The percent format, read with nothing but Python: what `--plain` executes and what the lint looks at.

Jupytext accepts a dozen spellings of a cell marker; the course allows one, so that a mistyped marker cannot pass as a
comment and silently merge two cells::

    # %%
    # %% [markdown]
    # %% tags=["hide-input"]
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

_MARKER = re.compile(r"# %%(?: \[(?P<kind>markdown|raw)\])?(?P<options>(?: \w+=.+)?)")
_LOOKS_LIKE_MARKER = re.compile(r"\s*#\s*%")  # also a commented magic, which Jupytext would bring back to life


class PercentError(ValueError):
    """The source is not in the course's percent format; the text names file and line."""


@dataclass(frozen=True)
class Cell:
    """One cell: ``kind`` is "code", "markdown" or "raw"; ``line`` is its marker's line number, from 1."""

    kind: str
    source: str
    line: int
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A chapter's source: its YAML header (without comment signs) and its cells."""

    header: str
    cells: list[Cell] = field(default_factory=list)


def read(path: Path) -> Source:
    """Parse the chapter at ``path``. Raises PercentError with file and line."""
    return parse(path.read_text(encoding="utf-8"), str(path.name))


def parse(text: str, name: str = "source") -> Source:
    """Parse percent-format text. Raises PercentError for a malformed marker, a missing header, or text before the first cell."""
    lines = text.replace("\r\n", "\n").split("\n")
    header, start = _header(lines, name)
    cells: list[Cell] = []
    current: tuple[str, tuple[str, ...], int] | None = None
    body: list[str] = []

    def close() -> None:
        if current is not None:
            cells.append(Cell(current[0], _clean(current[0], body, name, current[2]), current[2], current[1]))

    for number, line in enumerate(lines[start:], start + 1):
        if match := _MARKER.fullmatch(line):
            close()
            current = (match.group("kind") or "code", _tags(match.group("options"), name, number), number)
            body = []
        elif _LOOKS_LIKE_MARKER.match(line):
            raise PercentError(f"{name}, line {number}: {line.strip()!r} is no cell marker: '# %%' and '# %% [markdown]' are; no magics")
        elif current is None and line.strip():
            raise PercentError(f"{name}, line {number}: text before the first '# %%'")
        else:
            body.append(line)
    close()
    return Source(header, cells)


def _header(lines: list[str], name: str) -> tuple[str, int]:
    if not lines or lines[0].rstrip() != "# ---":
        raise PercentError(f"{name}, line 1: no YAML header; it must hold jupytext's text_representation and the kernelspec")
    for end in range(1, len(lines)):
        if lines[end].rstrip() == "# ---":
            return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[1:end]), end + 1
    raise PercentError(f"{name}: the YAML header is not closed by '# ---'")


def _tags(options: str, name: str, number: int) -> tuple[str, ...]:
    options = options.strip()
    if not options:
        return ()
    key, _, value = options.partition("=")
    try:
        tags = json.loads(value)
    except json.JSONDecodeError:
        tags = None
    if key != "tags" or not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise PercentError(f'{name}, line {number}: {options!r}; the one option is a list of tags, as in tags=["hide-input"]')
    return tuple(tags)


def _clean(kind: str, body: list[str], name: str, line: int) -> str:
    text = "\n".join(body).strip("\n")
    if kind == "code":
        return text
    for offset, row in enumerate(body, line + 1):
        if row.strip() and not row.startswith("#"):
            raise PercentError(f"{name}, line {offset}: a {kind} cell holds a line without '# ': {row.strip()!r}")
    return "\n".join(row.removeprefix("#").removeprefix(" ") for row in text.split("\n")) if text else ""
