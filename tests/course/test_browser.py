"""The start page in a real browser: open the lab, follow the first link, run all cells, and see no error."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.course import lab
from labkit.course.chapters import all_chapters
from labkit.course.commands.lab import prepare
from labkit.course.exercises import get
from labkit.course.workcopy import relative_name
from tests.course.toys import Toys

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")

BODY = (
    """
# %%
import torch

from labkit.course.exercises import check, exercise, hint, solution

# %%
exercise("00.1")

# %% tags=["exercise"]
"""
    + get("00.1").stub_source
    + """

# %% tags=["check"]
check("00.1", linf_distance)

# %%
check("00.1", lambda x_adv, x: (x_adv - x).amax((1, 2, 3)))

# %% tags=["solution"]
solution("00.1")
"""
)


@pytest.fixture
def page() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright's Python package is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def serve(folder: Path, page: Any) -> lab.Server:
    """Start a server on ``folder`` and open its start page; every request that leaves the machine is noted in page.strangers."""
    server = lab.start(folder, "/lab/tree/start.ipynb")
    page.strangers = []
    local = re.compile(r"^(https?|wss?)://127\.0\.0\.1[:/]|^(data|blob|about):")
    page.on("request", lambda request: None if local.match(request.url) else page.strangers.append(request.url))
    page.goto(server.link)
    page.wait_for_selector(".jp-Notebook .jp-MarkdownOutput h1")
    return server


def run_first_notebook(page: Any, notebook: Path, limit: float) -> int:
    """Follow the start page's first link, choose Run > Run All Cells, wait until all code cells have run, and return their number.

    The page holds only the cells in view, so the judge is the notebook as the browser saves it. Raises AssertionError with the
    error of the first cell that fails.
    """
    page.locator(".jp-Notebook a[href*='.ipynb']").first.click()
    page.wait_for_selector(f".lm-TabBar-tab.lm-mod-current:has-text('{notebook.name}')")
    page.wait_for_selector("#jp-main-statusbar:has-text('| Idle')")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("[data-command='runmenu:run-all']").click()
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        page.wait_for_timeout(1000)
        page.keyboard.press("Control+s")
        code = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        for output in (output for cell in code for output in cell["outputs"] if output["output_type"] == "error"):
            raise AssertionError(f"a cell failed: {output['ename']}: {output['evalue']}")
        if all(cell["execution_count"] for cell in code) and page.locator("#jp-main-statusbar:has-text('| Idle')").count():
            return len(code)
    raise AssertionError(f"after {limit:.0f} s {sum(bool(cell['execution_count']) for cell in code)} of {len(code)} cells have run")


def save(page: Any, name: str, tmp_path: Path) -> None:
    """Keep a screenshot for people, in LABKIT_SCREENSHOTS if that is set."""
    folder = Path(os.environ.get("LABKIT_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")


def test_the_start_page_leads_to_a_notebook_that_runs(page: Any, toys: Toys, tmp_path: Path) -> None:
    toys.add("00_a_stop_sign", BODY, part="foundations")
    toys.add("10_evasion")
    folder = toys.root / "work"
    prepare(folder)
    server = serve(folder, page)
    try:
        save(page, "toy-start", tmp_path)
        assert run_first_notebook(page, folder / "foundations/00_a_stop_sign.ipynb", 120) == 7
        save(page, "toy-notebook", tmp_path)
        assert page.strangers == []
    finally:
        server.stop()


def test_an_error_in_a_cell_would_be_seen(page: Any, toys: Toys, tmp_path: Path) -> None:
    toys.add("00_a_stop_sign", "# %%\n1 / 0\n\n# %%\nnever_reached = True", part="foundations")
    folder = toys.root / "work"
    prepare(folder)
    server = serve(folder, page)
    try:
        with pytest.raises(AssertionError, match="ZeroDivisionError"):
            run_first_notebook(page, folder / "foundations/00_a_stop_sign.ipynb", 120)
    finally:
        server.stop()


def test_the_first_chapter_runs_from_top_to_bottom(page: Any, tmp_path: Path) -> None:
    chapters = all_chapters()
    if not chapters or chapters[0].number != 0:
        pytest.skip("chapter 00 is not there yet")
    folder = tmp_path / "work"
    prepare(folder)
    server = serve(folder, page)
    try:
        save(page, "start", tmp_path)
        assert run_first_notebook(page, folder / relative_name(chapters[0]), 240) > 5
        save(page, "chapter-00", tmp_path)
        assert page.strangers == []
    finally:
        server.stop()
