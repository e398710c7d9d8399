"""Plain runs: the same results without Jupyter, on a machine that has next to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labkit.course import plain
from labkit.course.chapters import all_chapters
from labkit.course.runner import Options, run_chapters
from tests.course.toys import EMIT, Toys

CHECKOUT = Path(__file__).resolve().parents[2]
# What `--plain` promises to do without: everything of the course's environment but torch, numpy, scikit-learn, matplotlib.
ABSENT = ("IPython", "ipykernel", "ipywidgets", "jupytext", "papermill", "nbformat", "nbclient", "rich", "psutil", "filelock",
          "pandas", "seaborn", "pooch", "yaml", "safetensors", "tqdm", "hypothesis", "pytest")  # fmt: skip
BLOCK = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""
CHAPTER = """
# %% [markdown]
# Text.

# %%
from dataclasses import dataclass
from labkit.reporting import record, say

@dataclass
class Thing:
    size: int

record("answer", 42 + SEED, n=7)
say("It is **42**.")

# %%
import matplotlib.pyplot as plt

plt.plot([1, 2]);
plt.show()

# %%
Thing(3)
"""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_bare_machine_gathers_the_same_results(toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the four promised packages is made impossible to import."""
    path = toys.add("10_toy", CHAPTER, begin=True)
    out, block = tmp_path / "out", tmp_path / "block"
    block.mkdir()
    (block / "sitecustomize.py").write_text(BLOCK)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*os.environ["PYTHONPATH"].split(os.pathsep), str(block), str(CHECKOUT)])}
    done = subprocess.run(
        [sys.executable, "-m", "labkit.course.plain", str(path), "--profile", "paper", "--seed", "1", "--out", str(out)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    log = (out / "10_toy" / "log.txt").read_text()
    assert done.returncode == 0, done.stdout + done.stderr + log
    chapter, result = lines(out / "results.jsonl")
    assert (chapter["status"], [cell["cell"] for cell in chapter["cells"]]) == ("ok", [2, 3, 5, 6, 7])
    assert (result["type"], result["cell"], result["payload"]["name"], result["payload"]["value"]) == ("result", 5, "answer", 43)
    provenance = result["provenance"]
    assert (provenance["engine"], provenance["profile"], provenance["seed"], provenance["device"]) == ("plain", "paper", 1, "cpu")
    assert len(provenance["source_sha256"]) == 64
    assert provenance["peak_mib"] > 100
    assert "Thing(size=3)" in log
    assert "[<matplotlib" not in log, "a semicolon hides the value, as in a notebook"
    assert "It is" in log
    (figure,) = (out / "10_toy").glob("*.png")
    assert figure.name == "10_toy-cell06-1.png"
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_failures_name_the_cell_and_the_line(toys: Toys, tmp_path: Path) -> None:
    bad = toys.add("10_bad", EMIT + "\n# %%\nx = 1\nraise ValueError('planted')\n\n# %%\nprint('never')")
    toys.add("11_good")
    toys.add("12_exits", "# %%\nimport sys\nsys.exit(0)")
    toys.add("13_dies", "# %%\nimport os\nos.kill(os.getpid(), 9)")
    out = tmp_path / "out"
    paths = [str(chapter.path) for chapter in all_chapters()]
    assert plain.main([*paths, "--out", str(out)]) == 1
    found = {line["chapter"]: line for line in lines(out / "results.jsonl") if line["type"] == "chapter"}
    assert {name: line["status"] for name, line in found.items()} == {
        "10_bad": "failed", "11_good": "ok", "12_exits": "failed", "13_dies": "failed",
    }  # fmt: skip
    error = found["10_bad"]["error"]
    assert (error["cell"], error["type"], error["message"]) == (4, "ValueError", "planted")
    assert bad.read_text().split("\n")[error["line"]] == "x = 1"
    number = bad.read_text().split("\n").index("raise ValueError('planted')") + 1
    assert f'10_bad.py", line {number}' in error["traceback"], "the traceback names the line of the source file"
    assert "never" not in (out / "10_bad" / "log.txt").read_text()
    assert (found["12_exits"]["error"]["type"], found["13_dies"]["error"]["type"]) == ("SystemExit", "ProcessDied")
    assert found["13_dies"]["error"]["cell"] == 3
    results = [line["chapter"] for line in lines(out / "results.jsonl") if line["type"] == "result"]
    assert results == ["10_bad", "11_good"], "what was measured before the failure is kept"


def test_the_runner_runs_plain_too(toys: Toys) -> None:
    toys.add("10_toy")
    toys.add("11_bad", "# %%\nraise ValueError")
    run = run_chapters(all_chapters(), toys.root, engine="plain", profile="smoke", options=Options(jobs=2, quiet=True))
    records = run.records()
    assert (records["10_toy"]["status"], records["11_bad"]["status"]) == ("ok", "failed")
    assert records["10_toy"]["results"][0]["payload"]["profile"] == "smoke"
    assert (run.folder / "plain/10_toy/log.txt").exists()
    events = [line["type"] for line in lines(run.folder / "events/10_toy.jsonl")]
    assert events == ["started", "cell", "cell", "ok"]


def test_a_missing_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        plain.main(["nowhere.py"])
    assert "no such file: nowhere.py" in capsys.readouterr().err
