"""The start page: a map of the chapters with the learner's own results, written anew whenever the lab opens."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import files
from labkit.course import percent, progress, workcopy
from labkit.course.chapters import PARTS, Chapter, all_chapters

FILE = "start.ipynb"
# As the kernel will report it: a notebook that differs would count as unsaved once the kernel has started.
_LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
    "version": platform.python_version(),
}
_MARKS = {"passed": "\u25cf", "not yet": "\u25d0", "not attempted": "\u25cb"}
_STYLE = "display: inline-block; vertical-align: middle; height: 10px; border-radius: 5px"


@dataclass(frozen=True)
class Row:
    """One line of the map. ``exercises``: each id with "passed", "not yet" or "not attempted"; ``cells``: run and all code cells."""

    number: int
    title: str
    part: str
    link: str
    exercises: dict[str, str]
    cells: tuple[int, int]


def write(folder: Path | None = None) -> Path:
    """Write ``start.ipynb`` into the learner's folder and return its path. It is generated: nobody's notes belong there.

    A start page that the learner has edited all the same is moved aside, not lost.
    """
    folder = folder or progress.work_dir()
    path = folder / FILE
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        if workcopy.digest_of(json.dumps(there)) != there["metadata"]["labkit"]["digest"]:
            progress.set_aside(path, "kept")
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError):
        progress.set_aside(path, "damaged")
    notebook = page(folder)
    notebook["metadata"]["labkit"] = {"digest": workcopy.digest_of(json.dumps(notebook))}
    files.write_json(path, notebook)
    return path


def page(folder: Path) -> dict[str, Any]:
    """Return the start page as a notebook: the welcome, the map, and a cell that draws the map anew."""
    records = progress.load(folder)
    rows = survey(folder, records)
    first = next((row for row in rows if row.cells[0] == 0), rows[0] if rows else None)
    code = "from labkit.course.startpage import show\n\nshow()  # run this cell to see how far you are now"
    cells = [
        _markdown("welcome", _WELCOME + _begin(first)),
        _markdown("map", map_of(rows, records.notice)),
        _markdown("help", _HELP),
        {"cell_type": "code", "id": "refresh", "metadata": {}, "source": code, "outputs": [], "execution_count": None},
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel, "language_info": _LANGUAGE}, "nbformat": 4, "nbformat_minor": 5}


def show() -> None:
    """Display the map of the chapters with the newest results."""
    from labkit.course.exercises.show import Card, _display

    folder = progress.work_dir()
    records = progress.load(folder)
    _display(Card(map_of(survey(folder, records), records.notice)))


def survey(folder: Path, records: progress.Progress) -> list[Row]:
    """Return one row for each chapter of the course."""
    return [_row(chapter, folder, records) for chapter in all_chapters()]


def map_of(rows: list[Row], notice: str = "") -> str:
    """Return the map in Markdown: the total, then one table, grouped by the parts of the course."""
    everything = [status for row in rows for status in row.exercises.values()]
    passed = everything.count("passed")
    lines = ["## Map of the course", "", f"{_bar(passed, len(everything))} **{passed} of {len(everything)} exercises passed**"]
    lines += ["", f"*Note: {notice}.*"] if notice else []
    lines += ["", f"Exercises: {_MARKS['passed']} passed, {_MARKS['not yet']} tried, {_MARKS['not attempted']} open.", ""]
    lines += ["| | Chapter | Exercises | Cells run |", "| --- | :--- | :--- | :--- |"]
    for part in sorted({row.part for row in rows}, key=lambda name: (PARTS.index(name) if name in PARTS else len(PARTS), name)):
        lines.append(f"| | **{part.capitalize()}** | | |")
        for row in (row for row in rows if row.part == part):
            marks = " ".join(_MARKS[status] for status in row.exercises.values()) or "none"
            lines.append(f"| {row.number:02d} | [{row.title}]({row.link}) | {marks} | {_ran(*row.cells)} |")
    return "\n".join(lines)


def _row(chapter: Chapter, folder: Path, records: progress.Progress) -> Row:
    source = percent.read(chapter.path)
    headings = (re.match(r"#\s+(.+)", cell.source) for cell in source.cells if cell.kind == "markdown")
    title = next((found[1].strip() for found in headings if found), chapter.name.partition("_")[2].replace("_", " ").capitalize())
    title = re.sub(rf"^(chapter\s+)?0?{chapter.number}[\s.:]+", "", title, flags=re.IGNORECASE)  # the map has the number already
    code = "\n".join(cell.source for cell in source.cells if cell.kind == "code")
    ids = dict.fromkeys(re.findall(r"""\bexercise\(\s*["'](\d\d\.\d+)["']""", code))
    states = {id: _state(records, id) for id in ids}
    return Row(
        chapter.number, title, chapter.part, workcopy.relative_name(chapter), states, _cells_run(folder / workcopy.relative_name(chapter))
    )


def _state(records: progress.Progress, id: str) -> str:
    if records.passed(id):
        return "passed"
    return "not yet" if id in records.exercises and records.exercises[id].attempts else "not attempted"


def _cells_run(path: Path) -> tuple[int, int]:
    """Return how many of a notebook's code cells have been run, and how many there are. (0, 0) for what cannot be read."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
        return sum(1 for cell in code if cell.get("execution_count")), len(code)
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0


def _ran(done: int, total: int) -> str:
    if not done:
        return "not begun"
    return "all" if done == total else f"{done} of {total}"


def _bar(done: int, total: int, width: int = 240) -> str:
    """Return a bar in HTML; where HTML is not drawn, the words beside it say the same."""
    share = round(width * done / total) if total else 0
    return (
        f'<span style="{_STYLE}; width: {width}px; background-color: #d5dae3">'
        f'<span style="{_STYLE}; width: {share}px; background-color: #0f7b6c"></span></span>'
    )


def _markdown(id: str, source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": id, "metadata": {}, "source": source.strip()}


def _begin(row: Row | None) -> str:
    if row is None:
        return ""
    word = "Begin" if row.number == 0 else "Go on"
    return f"\n**{word} here: [{row.number:02d} {row.title}]({row.link})**\n"


_WELCOME = """
# Adversarial machine learning, hands on

You attack models, detect attacks and defend against them, in notebooks that measure every number in front of you. Open a chapter,
read, guess, then press **Shift+Enter** to run a cell and compare. **Run > Run All Cells** runs a whole chapter. Nothing here needs
a network.
"""

_HELP = """
### Good to know

- These notebooks are **your copy**: edit, solve and break them as you like. `labkit reset 10` in a terminal gives chapter 10 afresh
  and keeps the old one beside it.
- Exercises: complete the cell, run the check below it. `hint("10.1")` shows one hint more each time, `solution("10.1")` a folded
  solution.
- `labkit update` brings a newer course and overwrites nothing that you changed; `labkit doctor` looks at your installation and says
  how to mend it.
- This page is written anew each time the lab opens: keep your notes elsewhere.
"""
