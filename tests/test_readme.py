"""The README tells the truth: its picture is the chapter's, its commands exist, its example runs, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.course import picture
from labkit.course.chapters import all_chapters

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_picture_is_the_start_chapters() -> None:
    assert (ROOT / picture.PICTURE).read_bytes() == picture.picture_of(ROOT / picture.NOTEBOOK), "run labkit publish 00"


def test_a_notebook_without_a_figure_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty.ipynb"
    empty.write_text('{"cells": []}')
    with pytest.raises(LookupError, match="shows no attack figure"):
        picture.picture_of(empty)


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_every_chapter_is_on_the_map() -> None:
    missing = [chapter.name for chapter in all_chapters(ROOT) if f"{chapter.name}.ipynb" not in README]
    assert not missing


def test_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.M), f"make {target}"
    listing = subprocess.run([sys.executable, "-m", "labkit.course", "--help"], capture_output=True, text=True, check=True).stdout
    for command in set(re.findall(r"(?:^|`)labkit ([a-z]+)", README, re.M)):
        assert re.search(rf"^  {command}\b", listing, re.M), f"labkit {command}"


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(example.replace("[:100]", "[:10]"), "README.md", "exec"), {})
    assert "of 10 inputs" in capsys.readouterr().out
