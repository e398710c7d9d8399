"""Publishing: what stands beside the source tells nothing of the machine, and changes only where numbers do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labkit.course import pairs, publish
from labkit.course.chapters import Chapter, all_chapters
from labkit.course.publish import NotPublished
from labkit.course.runner import Options, run_chapters
from tests.course.toys import EMIT, Toys

QUIET = Options(jobs=1, quiet=True)
MESSY = """
# %%
import os, sys, tempfile, time, warnings

print("home", os.path.expanduser("~/x"), "root", os.environ["LABKIT_ROOT"] + "/data", "temporary", tempfile.gettempdir() + "/y")
print("python", sys.prefix + "/lib")
warnings.warn("careful")
print(object())

# %%
for step in range(3):
    sys.stderr.write(f"\\rstep {step}")
    sys.stderr.flush()
    time.sleep(0.1)
sys.stderr.write("\\n")

# %%
from labkit.progress import progress

print(sum(progress([1, 2], "slow sum", threshold=0.0)))

# %%
import matplotlib.pyplot as plt

plt.plot([1, 2])
plt.show()
"""


def run_and_publish(toys: Toys) -> Any:
    run = run_chapters(all_chapters(), toys.root, options=QUIET)
    assert publish.publish_run(run, toys.root) == 0
    return json.loads(all_chapters()[0].notebook.read_text())


def text_of(notebook: Any) -> str:
    return "".join(
        "".join(output.get("text", [])) + "".join(output.get("data", {}).get("text/plain", []))
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
    )


def test_the_published_notebook_is_clean_and_stable(toys: Toys) -> None:
    toys.add("10_toy", MESSY + EMIT)
    notebook = run_and_publish(toys)
    (chapter,) = all_chapters()
    assert pairs.check(chapter) == []
    first = chapter.notebook.read_bytes()
    assert set(notebook["metadata"]) == {"kernelspec", "labkit", "language_info"}
    assert set(notebook["metadata"]["labkit"]) == {"source_sha256", "profile", "seed", "labkit_version"}
    text = text_of(notebook)
    assert "home ~/x root <course>/data temporary <temporary>/y" in text
    assert "python <python>/lib" in text
    assert "<cell>: UserWarning: careful" in text
    assert "<object object at 0x...>" in text
    assert text.count("step") == 1, "only the last state of the progress bar"
    assert "step 2" in text
    assert "slow sum" not in text, "progress is not a result"
    assert any("image/png" in output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", []))
    assert not any("injected-parameters" in cell["metadata"].get("tags", []) for cell in notebook["cells"])
    run_and_publish(toys)
    assert chapter.notebook.read_bytes() == first, "publishing again changes nothing"


def test_failed_chapters_are_not_published(toys: Toys, capsys: pytest.CaptureFixture[str]) -> None:
    toys.add("10_toy")
    toys.add("11_bad", "# %%\nraise ValueError")
    run = run_chapters(all_chapters(), toys.root, options=Options(jobs=2, quiet=True))
    assert publish.publish_run(run, toys.root) == 1
    good, bad = all_chapters()
    assert good.notebook.exists()
    assert not bad.notebook.exists()
    assert "NOT published 11_bad: it did not run" in capsys.readouterr().out


def executed(toys: Toys, *outputs: dict[str, Any]) -> tuple[Chapter, Path, dict[str, Any]]:
    """A chapter with an executed notebook that holds ``outputs``, made without a kernel."""
    from labkit.course import notebooks

    toys.add("10_toy", "# %%\nx = 1")
    (chapter,) = all_chapters()
    notebook = notebooks.read_notebook(chapter)
    notebook.cells[-1].outputs = [notebooks.nbformat.from_dict(output) for output in outputs]
    path = toys.root / "executed.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return chapter, path, {"source_sha256": notebooks.source_sha256(chapter.path), "profile": "quick", "seed": 0}


def stream(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ({"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}, "cell 3 ended in ValueError: no"),
        (stream("see /home/someone/file.txt"), "path of one machine"),
        ({"output_type": "display_data", "metadata": {}, "data": {publish.WIDGET_VIEW: {}, "text/plain": "Box()"}}, "widget"),
        (stream("x" * 700_000), "over 600 kB; the heaviest: cell 3"),
    ],
)
def test_what_is_refused(toys: Toys, output: dict[str, Any], problem: str) -> None:
    chapter, path, record = executed(toys, output)
    with pytest.raises(NotPublished, match=problem):
        publish.publish(chapter, path, toys.root, record)
    assert not chapter.notebook.exists()


def test_only_fresh_quick_runs_are_published(toys: Toys) -> None:
    chapter, path, record = executed(toys, stream("fine"))
    with pytest.raises(NotPublished, match="profile paper"):
        publish.publish(chapter, path, toys.root, {**record, "profile": "paper"})
    assert publish.publish(chapter, path, toys.root, record) < 2000
    chapter.path.write_text(chapter.path.read_text() + "\n# %%\ny = 1\n")
    with pytest.raises(NotPublished, match="changed since this run"):
        publish.publish(chapter, path, toys.root, record)
    assert "stale" in pairs.check(chapter)[0]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [("a\rb\nc", "b\nc"), ("a\r\nb", "a\nb"), ("10%\r20%\r", "20%"), ("x", "x"), ("", ""), ("a\r\rb", "b")],
)  # fmt: skip
def test_overwritten_lines(raw: str, shown: str) -> None:
    assert publish.overwrite(raw) == shown


def test_progress_lines_are_left_out() -> None:
    progress = {"output_type": "display_data", "data": {"text/plain": "attacks: 5 done"}, "metadata": {"labkit": "progress"}}
    result = {"output_type": "display_data", "data": {"text/plain": "attacks: 5 done"}, "metadata": {}}
    assert publish._passing(progress)
    assert not publish._passing(result)
