"""The scoreboard: every figure that was measured, beside what its paper reported, hits and misses alike."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from labkit.files import write_text
from labkit.reporting import reproduced
from labkit.reporting.claims import Figure
from labkit.reporting.formatting import interval_text, number
from labkit.reporting.registry import all_claims, claim

_HEAD = """# Scoreboard

What papers reported, and what this course measured. Each tolerance stood in `data/reported/` before the run; a miss is printed as a
MISS. *Kind* says how much of the original was kept: `recomputed` from the authors' raw results, `same weights`, `retrained`, `reduced`
(*how* says what was cut), or `analogue`, which is never a reproduction. Brackets hold 95% intervals. Written by
`labkit scoreboard`; do not edit.
"""
_COLUMNS = ("figure", "reported", "measured", "n", "kind", "tolerance", "verdict", "how")


def scoreboard() -> str:
    """Return the scoreboard as Markdown: one table per claim with its provenance below, and the count of verdicts."""
    measured: dict[str, dict[str, dict[str, Any]]] = {}
    for name, figure, item in reproduced.entries():
        measured.setdefault(name, {})[figure] = item
    if not measured:
        return f"{_HEAD}\nNothing has been measured yet: `labkit run 10 --profile paper` measures a chapter's claims.\n"
    verdicts = Counter(item["verdict"] for items in measured.values() for item in items.values())
    count = ", ".join(f"{verdict}: {times}" for verdict, times in sorted(verdicts.items()))
    total = f"{len(measured)} of {len(all_claims())} claims measured, {sum(verdicts.values())} figures. {count}.\n"
    return "\n".join([_HEAD, total, *(_section(name, items) for name, items in measured.items())])


def write_scoreboard() -> Path:
    """Renew the marks of what is stale, write ``data/reproduced/SCOREBOARD.md`` and return its path."""
    reproduced.mark_stale()
    path = reproduced.folder() / "SCOREBOARD.md"
    write_text(path, scoreboard())
    return path


def _section(name: str, items: dict[str, dict[str, Any]]) -> str:
    paper = claim(name)
    how: list[str] = []  # each distinct way of measuring is told once, below the table
    rows = []
    for figure in (known for known in paper.figures.values() if known.id in items):
        item = items[figure.id]
        told = "; ".join([*(f"{key} {value}" for key, value in item["settings"].items()), reproduced.provenance_line(item)])
        if told not in how:
            how.append(told)
        rows.append(_row(figure, item, how.index(told) + 1))
    head = f"| {' | '.join(_COLUMNS)} |\n|{' --- |' * len(_COLUMNS)}"
    where = f"{paper.citation}, *{paper.paper['title']}*, {paper.where}. {paper.data}."
    notes = "\n".join(f"{index}. {told}" for index, told in enumerate(how, 1))
    return f"## {name}\n\n{where}\n\n{head}\n" + "\n".join(rows) + f"\n\n{notes}\n"


def _row(figure: Figure, item: dict[str, Any], how: int) -> str:
    n = item["n"]
    bracket = interval_text(tuple(item["interval"]), figure.unit, n=n) if item["interval"] else ""
    verdict = item["verdict"]
    cells = (
        figure.what, figure.reported, f"{number(item['value'], figure.unit, n=n)} {bracket}".strip(), f"{n:,}" if n else "-",
        item["kind"], item["tolerance"] or "none", f"**{verdict}**" if verdict in ("HIT", "MISS") else verdict, f"({how})",
    )  # fmt: skip
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
