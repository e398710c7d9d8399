"""The scoreboard: every figure that was measured, beside what its paper reported, hits and misses alike."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from labkit.files import write_text
from labkit.reporting import reproduced
from labkit.reporting.formatting import interval_text, number
from labkit.reporting.registry import all_claims, claim

_HEAD = """# Scoreboard

What papers reported, and what this course measured. Each tolerance stood in `data/reported/` before the run; a miss is printed as a
MISS. *Kind* says how much of the original was kept: `recomputed` from the authors' raw results, `same weights`, `retrained`, `reduced`
(the settings say what was cut), or `analogue`, which is never a reproduction. Brackets hold 95% intervals. Written by
`labkit scoreboard`; do not edit.
"""
_COLUMNS = ("figure", "reported", "measured", "n", "kind", "tolerance", "verdict", "measured on")


def scoreboard() -> str:
    """Return the scoreboard as Markdown: one table per claim, and the count of verdicts."""
    sections: dict[str, list[str]] = {}
    verdicts: Counter[str] = Counter()
    for name, figure, item in reproduced.entries():
        sections.setdefault(name, []).append(_row(name, figure, item))
        verdicts[item["verdict"]] += 1
    if not sections:
        return f"{_HEAD}\nNothing has been measured yet: `labkit run 10 --profile paper` measures a chapter's claims.\n"
    known = all_claims()
    count = ", ".join(f"{verdict}: {times}" for verdict, times in sorted(verdicts.items()))
    parts = [_HEAD, f"{len(sections)} of {len(known)} claims measured, {sum(verdicts.values())} figures. {count}.\n"]
    for name, rows in sections.items():
        paper = claim(name)
        head = f"| {' | '.join(_COLUMNS)} |\n|{' --- |' * len(_COLUMNS)}"
        where = f"{paper.citation}, *{paper.paper['title']}*, {paper.where}. {paper.data}."
        parts.append(f"## {name}\n\n{where}\n\n{head}\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def write_scoreboard() -> Path:
    """Renew the marks of what is stale, write ``data/reproduced/SCOREBOARD.md`` and return its path."""
    reproduced.mark_stale()
    path = reproduced.folder() / "SCOREBOARD.md"
    write_text(path, scoreboard())
    return path


def _row(name: str, figure: str, item: dict[str, object]) -> str:
    reported = claim(name).figure(figure)
    n = item["n"] if isinstance(item["n"], int) else None
    span = item["interval"]
    bracket = interval_text((span[0], span[1]), reported.unit, n=n) if isinstance(span, list) else ""
    value = item["value"]
    assert isinstance(value, (int, float))
    settings = item["settings"]
    cut = ", ".join(f"{key} {setting}" for key, setting in settings.items()) if isinstance(settings, dict) else ""
    verdict = str(item["verdict"])
    cells = (
        reported.what, reported.reported, f"{number(float(value), reported.unit, n=n)} {bracket}".strip(), f"{n:,}" if n else "-",
        f"{item['kind']}{f' ({cut})' if cut else ''}", str(item["tolerance"] or "none"),
        f"**{verdict}**" if verdict in ("HIT", "MISS") else verdict, reproduced.provenance_line(item),
    )  # fmt: skip
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
