"""A suite that cannot fail proves nothing: each planted fault must turn the very command of ``labkit test`` red."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.course import publish, suite
from labkit.course.chapters import all_chapters
from labkit.course.runner import Options, run_chapters
from tests.course.toys import Toys

CHECKOUT = Path(__file__).resolve().parents[2]
TESTS = [str(CHECKOUT / "tests" / name) for name in ("test_chapters.py", "test_pairs.py")]
BODY = """
# %% tags=["nbval-check-output"]
print("shape", (2, 3), "took 1.5 s")

# %%
import random

print(random.random())
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toys]:
    """A course of one published chapter, on which the suite is green. The faults are planted into it and taken out again."""
    with pytest.MonkeyPatch.context() as patch:
        toys = Toys(tmp_path_factory.mktemp("planted") / "course")
        patch.setenv("LABKIT_ROOT", str(toys.root))
        toys.add("10_toy", BODY, begin=True)
        run = run_chapters(all_chapters(), toys.root, options=Options(jobs=1, quiet=True))
        assert publish.publish_run(run, toys.root) == 0
        yield toys


def suite_says(toys: Toys, *words: str) -> tuple[int, str]:
    """Run the suite over the toy course, and return its status and what it said."""
    command = suite.arguments(CHECKOUT, toys.root / "chapters", tests=TESTS, jobs=1)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "LABKIT_OFFLINE"))}
    environment |= {key: value for key, value in suite.environment().items() if key in ("PYTHONPATH", "LABKIT_OFFLINE")}
    environment["LABKIT_ROOT"] = str(toys.root)
    done = subprocess.run([*command, *words], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def files(course: Toys) -> Iterator[tuple[Path, Path]]:
    """The source and the notebook of the good chapter; both are put back after the test."""
    source = course.root / "chapters/attacks/10_toy.py"
    kept = {path: path.read_bytes() for path in (source, source.with_suffix(".ipynb"))}
    yield source, source.with_suffix(".ipynb")
    for path, content in kept.items():
        path.write_bytes(content)


def test_the_good_course_is_green(course: Toys) -> None:
    status, text = suite_says(course)
    assert status == 0, text
    assert re.search(r"^10_toy +quick .* s +\d+ MiB", text, re.M), "the budget is shown"
    assert re.search(r"10 passed", text.strip().split("\n")[-1]), text  # 1 + 2 profiles + 3 checks of the pair + 4 cells


def test_a_failing_chapter(course: Toys, files: tuple[Path, Path]) -> None:
    source, _ = files
    source.write_text(source.read_text() + "\n# %%\nraise ValueError('planted failure')\n")
    status, text = suite_says(course, "-k", "test_chapter_runs and quick")
    assert status == 1
    assert "cell 6 (line" in text
    assert "ValueError: planted failure" in text


def test_a_stale_pair(course: Toys, files: tuple[Path, Path]) -> None:
    source, _ = files
    source.write_text(source.read_text().replace("A toy.", "A better toy."))
    status, text = suite_says(course, "-k", "test_pair_agrees")
    assert status == 1
    assert "the outputs are stale" in text


def test_a_wrong_number(course: Toys, files: tuple[Path, Path]) -> None:
    """The published notebook claims another output than running it gives; nothing but nbval can see that."""
    _, notebook = files
    text = notebook.read_text()
    assert text.count("(2, 3) took") == 1
    notebook.write_text(text.replace("(2, 3) took", "(2, 4) took"))
    status, told = suite_says(course, "-k", "Cell or test_pair_agrees")
    assert status == 1
    assert "Cell outputs differ" in told
    assert re.search(r"1 failed, \d+ passed", told), told


@pytest.mark.parametrize("swallowed", [False, True])
def test_a_network_call(course: Toys, files: tuple[Path, Path], swallowed: bool) -> None:
    """Also when the chapter carries on without what it wanted to download."""
    source, _ = files
    call = "import urllib.request\n\n{}urllib.request.urlopen('http://example.invalid/data')\n"
    body = call.format("try:\n    ") + "except OSError:\n    pass\n" if swallowed else call.format("")
    source.write_text(source.read_text() + f"\n# %%\n{body}")
    status, text = suite_says(course, "-k", "test_chapter_runs and quick")
    assert status == 1
    assert "something reached for the network" in text
    assert re.search(r"^connection to the network, by way of the proxy.* from .*ipykernel.*\(1 times\)", text, re.M), text
    assert "1 error" in text, "it stands in the closing line"
    assert ("1 failed" in text) != swallowed


def test_the_pool_of_notebooks_tells_which_one_is_wrong(course: Toys, files: tuple[Path, Path]) -> None:
    """``labkit test`` executes each published notebook in its own process: a wrong one is counted, named and shown, a right one is not."""
    _, good = files
    wrong = good.with_name("11_wrong.ipynb")
    wrong.write_text(good.read_text().replace("(2, 3) took", "(2, 4) took"))
    said: list[str] = []
    environment = suite.environment(1) | {"LABKIT_ROOT": str(course.root)}
    environment = {key: value for key, value in environment.items() if not key.startswith("PYTEST_")}
    try:
        assert suite.check_notebooks(CHECKOUT, [good, wrong], jobs=2, env=environment, say=said.append) == 1
    finally:
        wrong.unlink()
    told = "\n".join(said)
    assert told.count("Cell outputs differ") >= 1
    assert re.search(r"^10_toy +4 passed, \d+ s$", told, re.M), told
    assert re.search(r"^11_wrong +1 failed, 3 passed, \d+ s$", told, re.M), told
    assert said[-1] == "1 of 2 published notebooks executed without a fault\nFAILED 11_wrong"
