"""Every chapter from top to bottom through the runner: in profile quick as a learner runs it, in smoke through its paper code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.course.chapters import Chapter, all_chapters
from labkit.course.runner import Options, run_chapters
from labkit.course.watching import explain
from labkit.files import project_root

CHAPTERS = all_chapters()
SLOWEST_CELL = 900.0  # seconds: a cell that hangs shall not hang the suite


def test_there_are_chapters() -> None:
    assert CHAPTERS, "no chapter found: every test of chapters would pass by not being there"


@pytest.mark.parametrize("profile", ["quick", "smoke"])
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_chapter_runs(chapter: Chapter, profile: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    options = Options(jobs=1, cell_timeout=SLOWEST_CELL, quiet=True)
    run = run_chapters([chapter], project_root(), profile=profile, options=options, where=tmp_path)
    record = run.records()[chapter.name]
    if record["status"] != "ok":
        error = record["error"]
        pytest.fail(f"{chapter.name}, {explain(error)}\n{error['source']}\n{error['traceback']}", pytrace=False)
    cells = json.loads((run.folder / record["notebook"]).read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code), "a cell was left out"
    assert len(record["cells"]) == len(code) - 1, "every cell but papermill's own has its time"
    if profile == "smoke":
        assert not record["results"], "profile smoke records nothing"
    record_property("chapter cost", f"{chapter.name:<32} {profile:<6} {record['seconds']:>7.1f} s {record['peak_mib']:>7} MiB")
