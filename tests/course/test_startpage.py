"""The start page: every chapter with a link that works, the learner's own results, and nobody's notes lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

from labkit.course import progress, startpage, workcopy
from tests.course.toys import Toys

BODY = '# %%\nexercise("10.1")\n\n# %%\ncheck("10.1", f)\n\n# %%\nexercise("10.2")'


@pytest.fixture
def work(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = toys.root / "work"
    monkeypatch.setenv("LABKIT_WORK", str(folder))
    toys.add("40_training", part="defenses")
    toys.add("10_evasion", BODY, part="attacks")
    toys.add("00_start_here", part="foundations")
    workcopy.prepare()
    return folder


def text_of(path: Path) -> str:
    return "\n".join(cell["source"] for cell in nbformat.read(path, as_version=4).cells)


def test_it_is_a_valid_notebook_whose_links_lead_somewhere(work: Path) -> None:
    path = startpage.write()
    nbformat.validate(nbformat.read(path, as_version=4))
    links = re.findall(r"\]\(([^)]+\.ipynb)\)", text_of(path))
    assert len(links) == 4  # the beginning, and three chapters
    assert all((work / link).exists() for link in links)


def test_the_parts_come_in_the_course_order(work: Path) -> None:
    text = text_of(startpage.write())
    places = [text.index(f"**{word}**") for word in ("Foundations", "Attacks", "Defenses")]
    assert places == sorted(places)


def test_it_shows_the_learners_own_results(work: Path) -> None:
    assert "**0 of 2 exercises passed**" in text_of(startpage.write())
    progress.note_check("10.1", "passed")
    progress.note_check("10.2", "not yet")
    text = text_of(startpage.write())
    assert "**1 of 2 exercises passed**" in text
    assert "| \u25cf \u25d0 |" in text


def test_it_leads_on_to_the_first_chapter_not_begun(work: Path) -> None:
    assert "Begin here: [00" in text_of(startpage.write())
    path = work / "foundations/00_start_here.ipynb"
    notebook = json.loads(path.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code[0]["execution_count"] = 1
    path.write_text(json.dumps(notebook))
    text = text_of(startpage.write())
    assert f"1 of {len(code)}" in text
    assert "Go on here: [10" in text
    for cell in code:
        cell["execution_count"] = 1
    path.write_text(json.dumps(notebook))
    assert "| all |" in text_of(startpage.write())


def test_damaged_progress_is_said(work: Path) -> None:
    (work / ".progress.json").write_text("{")
    assert "progress file was damaged" in text_of(startpage.write())


def test_unreadable_notebooks_do_not_stop_it(work: Path) -> None:
    (work / "attacks/10_evasion.ipynb").write_text("{")
    assert "10_evasion" in text_of(startpage.write())


def test_notes_written_into_it_are_moved_aside(work: Path) -> None:
    path = startpage.write()
    startpage.write()
    assert not list(work.glob("start.*-*.ipynb"))
    notebook = json.loads(path.read_text())
    notebook["cells"][-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "run"}]
    path.write_text(json.dumps(notebook))
    startpage.write()
    assert not list(work.glob("start.*-*.ipynb"))  # running it is no change
    notebook["cells"].append({"cell_type": "markdown", "id": "mine", "metadata": {}, "source": "my notes"})
    path.write_text(json.dumps(notebook))
    startpage.write()
    (aside,) = work.glob("start.kept-*.ipynb")
    assert "my notes" in aside.read_text()
    path.write_text("{")
    startpage.write()
    assert len(list(work.glob("start.damaged-*.ipynb"))) == 1


def test_its_last_cell_shows_the_map(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress.note_check("10.1", "passed")
    code = nbformat.read(startpage.write(), as_version=4).cells[-1].source
    exec(code, {})
    assert "1 of 2 exercises passed" in capsys.readouterr().out
