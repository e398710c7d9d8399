"""``labkit book``: the static site, from the notebooks as they were published. Nothing is executed."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from labkit.course.chapters import PARTS, Chapter, all_chapters
from labkit.course.errors import CourseError

HELP = "build the static site book/_build/html from the published notebooks, without executing them"
_CONFIG = Path(__file__).resolve().parents[3] / "book"
_ASIDE = frozenset({"parameters", "solution"})  # what a reader of the site opens only on wish
_WELCOME = """# Adversarial machine learning that you run

Every number and every figure on these pages was computed by the notebook that you are reading. To run one yourself, clone the
course and type `make lab`; what the papers reported and what the course measured stands on the [scoreboard](scoreboard.md).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the site goes."""
    parser.add_argument("--out", type=Path, help="folder of the site (default: book/_build/html)")


def run(args: argparse.Namespace) -> int:
    """Build the site; warnings are errors. Return Sphinx's exit status. Raises CourseError when Sphinx is not installed."""
    from labkit.files import project_root

    lacking = [name for name in ("sphinx", "myst_nb", "furo") if find_spec(name) is None]
    if lacking:
        raise CourseError(f"the book needs {', '.join(lacking)}: pip install '.[book]' in the checkout")
    root = project_root()
    site = args.out or root / "book" / "_build" / "html"
    source = root / "book" / "_source"
    count = prepare(root, source)
    words = ["-b", "html", "-c", str(_CONFIG), "-d", str(root / "book" / "_build" / "doctrees"), "-E", "-W", "--keep-going", "-q"]
    done = subprocess.run([sys.executable, "-m", "sphinx", *words, str(source), str(site)], check=False)
    sys.stdout.write(f"{count} chapters: {site / 'index.html'}\n" if done.returncode == 0 else "the book was NOT built: see above\n")
    return done.returncode


def prepare(root: Path, source: Path) -> int:
    """Write what Sphinx reads to ``source``: notebooks, landing page, scoreboard. Return the number of chapters."""
    shutil.rmtree(source, ignore_errors=True)
    published = [chapter for chapter in all_chapters(root) if chapter.notebook.is_file()]
    if not published:
        raise CourseError(f"no published notebook in {root / 'chapters'}: labkit run --publish writes them")
    told = {chapter.name: _copy(chapter, source) for chapter in published}
    (source / "index.md").write_text(_landing(published, told), encoding="utf-8")
    board = root / "data" / "reproduced" / "SCOREBOARD.md"
    text = board.read_text(encoding="utf-8") if board.is_file() else "# Scoreboard\n\nNothing has been measured yet.\n"
    (source / "scoreboard.md").write_text(text, encoding="utf-8")
    return len(published)


def _copy(chapter: Chapter, source: Path) -> tuple[str, str]:
    """Copy a notebook, its plumbing folded away, and return its title and the first thing that it teaches."""
    notebook: dict[str, Any] = json.loads(chapter.notebook.read_text(encoding="utf-8"))
    title = first = ""
    for cell in notebook["cells"]:
        text = "".join(cell["source"]).lstrip()
        if cell["cell_type"] == "markdown" and not title and text.startswith("# "):
            title = re.sub(r"^\d+[.:]?\s+", "", text.splitlines()[0][2:].strip())
            first = next((line[2:].rstrip(" ;.") for line in text.splitlines() if line.startswith("- ")), "")
        tags = cell["metadata"].get("tags", [])
        if _ASIDE & set(tags):
            cell["metadata"]["tags"] = [*tags, "hide-input"]
    if not title:
        raise CourseError(f"{chapter.notebook} has no title: its first Markdown cell starts with '# '")
    target = source / chapter.part / chapter.notebook.name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(notebook), encoding="utf-8")
    return title, first


def _landing(published: list[Chapter], told: dict[str, tuple[str, str]]) -> str:
    """Return the landing page: welcome, map of chapters, and the table of contents that the sidebar shows."""
    parts = [_WELCOME]
    for part in PARTS:
        chapters = [chapter for chapter in published if chapter.part == part]
        if chapters:
            rows = [_row(chapter, *told[chapter.name]) for chapter in chapters]
            toctree = "\n".join(f"{part}/{chapter.name}" for chapter in chapters)
            heading = part.capitalize()
            listed = "\n".join(["| | chapter | you will be able to |", "| --- | --- | --- |", *rows])
            parts.append(f"## {heading}\n\n{listed}\n\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{toctree}\n```\n")
    parts.append("```{toctree}\n:hidden:\n:caption: Results\n\nscoreboard\n```\n")
    return "\n".join(parts)


def _row(chapter: Chapter, title: str, first: str) -> str:
    taught = first.replace("|", "\\|")
    return f"| {chapter.number:02d} | [{title}]({chapter.part}/{chapter.notebook.name}) | {taught} |"
