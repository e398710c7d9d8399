"""The learner's copy: nothing that a learner changed is ever overwritten, whatever happens in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labkit import files
from labkit.course import cli, workcopy
from labkit.course.chapters import find
from labkit.course.errors import CourseError
from tests.course.toys import Toys

TEN, ELEVEN = "attacks/10_evasion.ipynb", "attacks/11_minimal.ipynb"


@pytest.fixture
def work(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a course of two chapters."""
    monkeypatch.delenv("LABKIT_WORK", raising=False)
    toys.add("10_evasion", "# %%\nanswer = 1")
    toys.add("11_minimal", "# %%\nanswer = 1")
    report = workcopy.prepare()
    assert report.added == [TEN, ELEVEN]
    return toys.root / "work"


def edit(path: Path, change: Callable[[Any], None]) -> str:
    """Change a notebook as an editor would, and return its new text."""
    notebook = json.loads(path.read_text())
    change(notebook)
    path.write_text(json.dumps(notebook))
    return path.read_text()


def solve(notebook: Any) -> None:
    notebook["cells"][-1]["source"] = ["answer = ", "'mine'"]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.ipynb")}


def test_the_copy_has_no_outputs_and_folds_solutions(toys: Toys) -> None:
    toys.add("10_evasion", '# %%\n1 + 1\n\n# %% tags=["solution"]\nsolution("10.1")')
    workcopy.prepare()
    cells = json.loads((toys.root / "work" / TEN).read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert code[-1]["metadata"]["jupyter"] == {"source_hidden": True}


def test_preparing_twice_changes_nothing(work: Path) -> None:
    edit(work / TEN, solve)
    before = snapshot(work)
    report = workcopy.prepare()
    assert snapshot(work) == before
    assert report == workcopy.Report()


def test_sources_are_never_written(work: Path, toys: Toys) -> None:
    before = {path: path.read_bytes() for path in (toys.root / "chapters").rglob("*") if path.is_file()}
    edit(work / TEN, solve)
    toys.add("11_minimal", "# %%\nanswer = 2")
    workcopy.update()
    workcopy.reset(find("10")[0])
    changed = toys.root / "chapters/attacks/11_minimal.py"
    assert all(path.read_bytes() == content for path, content in before.items() if path != changed)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda n: n["cells"][-1].update(outputs=[{"output_type": "stream", "name": "stdout", "text": "x"}], execution_count=3), id="run"
        ),
        pytest.param(
            lambda n: n["cells"].append({"cell_type": "code", "id": "x", "source": "", "metadata": {}, "outputs": []}), id="empty cell"
        ),
        pytest.param(lambda n: n["metadata"].update(language_info={"name": "python", "version": "3.99"}), id="metadata"),
        pytest.param(lambda n: [cell.update(id=f"new-{i}") for i, cell in enumerate(n["cells"])], id="ids"),
        pytest.param(lambda n: n["cells"][-1].update(source="answer = 1\n\n"), id="line ends"),
        pytest.param(lambda n: [cell.update(source="".join(cell["source"]).splitlines(True)) for cell in n["cells"]], id="list or text"),
    ],
)
def test_running_and_saving_is_no_change(work: Path, toys: Toys, change: Callable[[Any], None]) -> None:
    edit(work / TEN, change)
    toys.add("10_evasion", "# %%\nanswer = 2")
    assert workcopy.prepare().waiting == [TEN]
    report = workcopy.update()
    assert report.updated == [TEN]
    assert "answer = 2" in (work / TEN).read_text()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(solve, id="edit"),
        pytest.param(lambda n: n["cells"].pop(), id="deleted cell"),
        pytest.param(lambda n: n["cells"].reverse(), id="moved cells"),
        pytest.param(lambda n: n["cells"].append({"cell_type": "markdown", "source": "my note", "metadata": {}}), id="note"),
        pytest.param(lambda n: n["cells"][0].update(cell_type="raw"), id="type"),
    ],
)
def test_a_changed_notebook_is_kept_and_the_newer_lies_beside(work: Path, toys: Toys, change: Callable[[Any], None]) -> None:
    mine = edit(work / TEN, change)
    toys.add("10_evasion", "# %%\nanswer = 2")
    report = workcopy.update()
    assert report.kept == [(TEN, "attacks/10_evasion.new.ipynb")]
    assert report.updated == []
    assert (work / TEN).read_text() == mine
    assert "answer = 2" in (work / "attacks/10_evasion.new.ipynb").read_text()
    assert workcopy.prepare().waiting == []  # it has been offered


def test_a_changed_notebook_stays_where_the_course_did_not_change(work: Path) -> None:
    before = edit(work / TEN, solve)
    assert workcopy.update() == workcopy.Report()
    assert (work / TEN).read_text() == before
    assert not (work / "attacks/10_evasion.new.ipynb").exists()


def test_notes_in_the_offered_version_are_kept_too(work: Path, toys: Toys) -> None:
    edit(work / TEN, solve)
    toys.add("10_evasion", "# %%\nanswer = 2")
    workcopy.update()
    beside = work / "attacks/10_evasion.new.ipynb"
    noted = edit(beside, lambda n: n["cells"].append({"cell_type": "markdown", "source": "merging", "metadata": {}}))
    toys.add("10_evasion", "# %%\nanswer = 3")
    workcopy.update()
    (aside,) = (work / "attacks").glob("10_evasion.new.kept-*.ipynb")
    assert aside.read_text() == noted
    assert "answer = 3" in beside.read_text()


def test_an_untouched_offer_is_replaced_by_the_next(work: Path, toys: Toys) -> None:
    edit(work / TEN, solve)
    for answer in (2, 3):
        toys.add("10_evasion", f"# %%\nanswer = {answer}")
        workcopy.update()
    assert "answer = 3" in (work / "attacks/10_evasion.new.ipynb").read_text()
    assert len(list((work / "attacks").glob("10_*"))) == 2


def test_taking_the_offered_version_makes_it_ones_own(work: Path, toys: Toys) -> None:
    edit(work / TEN, solve)
    toys.add("10_evasion", "# %%\nanswer = 2")
    workcopy.update()
    os.replace(work / "attacks/10_evasion.new.ipynb", work / TEN)
    assert workcopy.update() == workcopy.Report()
    toys.add("10_evasion", "# %%\nanswer = 3")
    assert workcopy.update().updated == [TEN]


def test_new_deleted_and_removed_chapters(work: Path, toys: Toys) -> None:
    toys.add("12_strong")
    (work / ELEVEN).unlink()
    (toys.root / "chapters/attacks/10_evasion.py").unlink()
    report = workcopy.update()
    assert report.added == ["attacks/12_strong.ipynb"]
    assert report.deleted == [ELEVEN]
    assert report.gone == [TEN]
    assert (work / TEN).exists()
    assert not (work / ELEVEN).exists()


@pytest.mark.parametrize("content", ["", "{", '{"cells": 3}', "[]", '{"cells": [{}]}'])
def test_a_broken_notebook_is_the_learners(work: Path, toys: Toys, content: str) -> None:
    (work / TEN).write_text(content)
    toys.add("10_evasion", "# %%\nanswer = 2")
    assert workcopy.update().kept[0][0] == TEN
    assert (work / TEN).read_text() == content


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"files": {"a": 1}}'])
def test_without_its_manifest_everything_different_is_the_learners(work: Path, toys: Toys, content: str | None) -> None:
    manifest = work / ".manifest.json"
    manifest.unlink() if content is None else manifest.write_text(content)
    mine = edit(work / TEN, solve)
    report = workcopy.update()
    assert (work / TEN).read_text() == mine
    assert report.kept == [(TEN, "attacks/10_evasion.new.ipynb")]
    assert report.updated == []
    assert bool(report.notices) == (content is not None)
    toys.add("11_minimal", "# %%\nanswer = 2")  # equal to the course a moment ago, so adopted as delivered
    assert workcopy.update().updated == [ELEVEN]


class Killed(BaseException):
    """Stands for SIGKILL at a certain write."""


@pytest.mark.parametrize("survives", range(8))
def test_an_interrupted_update_is_finished_by_the_next(work: Path, toys: Toys, monkeypatch: pytest.MonkeyPatch, survives: int) -> None:
    mine = edit(work / TEN, solve)
    toys.add("10_evasion", "# %%\nanswer = 2")
    toys.add("11_minimal", "# %%\nanswer = 2")
    toys.add("12_strong", "# %%\nanswer = 2")
    writes, original = [0], files.write_bytes

    def write(path: Path, content: bytes) -> None:
        if writes[0] == survives:
            raise Killed
        writes[0] += 1
        original(path, content)

    monkeypatch.setattr(files, "write_bytes", write)
    try:
        workcopy.update()
    except Killed:
        pass
    else:
        assert survives >= 6  # three files, each with its line in the manifest
    monkeypatch.setattr(files, "write_bytes", original)
    workcopy.update()
    assert (work / TEN).read_text() == mine
    for name in ("attacks/10_evasion.new.ipynb", ELEVEN, "attacks/12_strong.ipynb"):
        assert "answer = 2" in (work / name).read_text()
    assert len(list(work.rglob("*.ipynb"))) == 4
    assert workcopy.update() == workcopy.Report()


def test_a_really_killed_update_loses_nothing(work: Path, toys: Toys) -> None:
    mine = edit(work / TEN, solve)
    for number in range(20, 60):
        toys.add(f"{number}_more")
    code = "import sys\nsys.stdout.write('go\\n'); sys.stdout.flush()\nfrom labkit.course import workcopy\nworkcopy.update()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "LABKIT_ROOT": str(toys.root)})
    assert process.stdout is not None
    process.stdout.readline()
    while not (work / "attacks/22_more.ipynb").exists() and process.poll() is None:
        pass
    process.kill()
    process.wait()
    assert (work / TEN).read_text() == mine
    workcopy.update()
    assert (work / TEN).read_text() == mine
    assert len(list(work.rglob("*.ipynb"))) == 42


def test_a_full_disk_loses_nothing(work: Path, toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.add("10_evasion", "# %%\nanswer = 2")
    before = snapshot(work)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk is full"):
        workcopy.update()
    assert snapshot(work) == before


def test_reset_keeps_the_old_notebook(work: Path) -> None:
    mine = edit(work / TEN, solve)
    path, kept = workcopy.reset(find("10")[0])
    assert kept is not None
    assert kept.parent == path.parent
    assert kept.read_text() == mine
    assert "answer = 1" in path.read_text()
    assert workcopy.update() == workcopy.Report()
    _, again = workcopy.reset(find("10")[0])
    assert again not in (None, kept)


def test_reset_takes_the_newest_version_and_clears_the_offer(work: Path, toys: Toys) -> None:
    edit(work / TEN, solve)
    toys.add("10_evasion", "# %%\nanswer = 2")
    workcopy.update()
    workcopy.reset(find("10")[0])
    assert "answer = 2" in (work / TEN).read_text()
    assert not (work / "attacks/10_evasion.new.ipynb").exists()


def test_an_interrupted_reset_loses_nothing(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = edit(work / TEN, solve)
    original = files.write_bytes

    def write(path: Path, content: bytes) -> None:
        if path.name == "10_evasion.ipynb":
            raise Killed
        original(path, content)

    monkeypatch.setattr(files, "write_bytes", write)
    with pytest.raises(Killed):
        workcopy.reset(find("10")[0])
    assert (work / TEN).read_text() == mine


def test_the_commands_say_what_they_did(work: Path, toys: Toys, capsys: pytest.CaptureFixture[str]) -> None:
    edit(work / TEN, solve)
    toys.add("10_evasion", "# %%\nanswer = 2")
    toys.add("11_minimal", "# %%\nanswer = 2")
    assert cli.main(["update"]) == 0
    text = capsys.readouterr().out
    assert f"updated: {ELEVEN}" in text
    assert f"kept: {TEN} holds your changes" in text
    assert "10_evasion.new.ipynb" in text
    assert cli.main(["update"]) == 0
    assert "up to date" in capsys.readouterr().out
    assert cli.main(["reset", "10"]) == 0
    assert "10_evasion.kept-" in capsys.readouterr().out
    assert cli.main(["reset", "99"]) == 2
    assert "no chapter '99'" in capsys.readouterr().err


def test_a_checkout_without_chapters_is_an_error(toys: Toys) -> None:
    with pytest.raises(CourseError, match="no chapters"):
        workcopy.prepare()
