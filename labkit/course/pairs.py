"""Does a published notebook belong to its source, and is it complete? Each check returns what is wrong, none raises."""

from __future__ import annotations

from typing import Any

from labkit.course import notebooks, publish
from labkit.course.chapters import Chapter

AGAIN = "run: labkit run --publish"


def check(chapter: Chapter) -> list[str]:
    """Return the problems of a chapter's pair: missing, unreadable, other cells, stale, incomplete, or with residue."""
    if not chapter.notebook.exists():
        return [f"{chapter.name} has no notebook beside its source; {AGAIN} {chapter.number}"]
    text = chapter.notebook.read_text(encoding="utf-8")
    try:
        published = notebooks.loads(text)
    except Exception as error:  # whatever nbformat raises for what is no notebook
        return [f"{chapter.notebook.name} cannot be read: {error}"]
    fresh = notebooks.read_notebook(chapter)
    problems = [*_stamp(chapter, published), *_cells(fresh, published), *_outputs(published), *publish.residue(published)]
    size = len(text.encode("utf-8"))
    if size > publish.LARGEST:
        problems.append(f"{size / 1000:.0f} kB, over {publish.LARGEST / 1000:.0f} kB: {publish.heaviest(chapter)}")
    return [f"{chapter.name}: {problem}" for problem in problems]


def round_trip(chapter: Chapter) -> list[str]:
    """Return whether reading the source and writing it again changes it: what Jupytext would do behind an author's back."""
    text = chapter.path.read_text(encoding="utf-8").replace("\r\n", "\n")
    again = notebooks.round_trip(text)
    if text == again:
        return []
    lines, others = text.split("\n"), again.split("\n")
    for number, (old, new) in enumerate(zip(lines, others, strict=False), 1):
        if old != new:
            return [f"{chapter.name}: line {number} is {old!r}, and would come back as {new!r}"]
    return [f"{chapter.name}: its {len(lines)} lines would come back as {len(others)}"]


def _stamp(chapter: Chapter, published: Any) -> list[str]:
    stamp = published.metadata.get("labkit", {})
    if stamp.get("source_sha256") != notebooks.source_sha256(chapter.path):
        return [f"the outputs are stale, the source changed since they were made; {AGAIN} {chapter.number}"]
    if (stamp.get("profile"), stamp.get("seed")) != ("quick", 0):
        return [f"published in profile {stamp.get('profile')}, seed {stamp.get('seed')}, not quick, 0"]
    return []


def _cells(fresh: Any, published: Any) -> list[str]:
    if len(fresh.cells) != len(published.cells):
        return [f"the source has {len(fresh.cells)} cells, the notebook {len(published.cells)}"]
    problems = []
    for number, (source, shown) in enumerate(zip(fresh.cells, published.cells, strict=True), 1):
        if (source.cell_type, source.source) != (shown.cell_type, shown.source):
            problems.append(f"cell {number} differs from the source")
        if source["id"] != shown.get("id"):
            problems.append(f"cell {number} has id {shown.get('id')}, not the one of its chapter and position")
        if source.metadata != shown.metadata:
            problems.append(f"cell {number} has metadata {dict(shown.metadata)}, not {dict(source.metadata)}")
    return problems


def _outputs(published: Any) -> list[str]:
    code = [cell for cell in published.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    if counts != list(range(1, len(code) + 1)):
        return [f"it was not executed once from top to bottom: execution counts {counts}"]
    problems = []
    for cell in code:
        text = "".join(str(output.get("data", output.get("text", ""))) for output in cell.outputs)
        if "nbval-check-output" in cell.metadata.get("tags", []) and not text:
            problems.append(f"code cell {cell.execution_count} is tagged nbval-check-output and shows nothing to compare")
    return problems
