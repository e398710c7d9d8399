"""A bare machine has torch, numpy, scikit-learn and matplotlib: everything that a chapter imports from here works there, as text."""

import json
import subprocess
import sys

SCRIPT = """
import sys

class Absent:
    names = {"IPython", "ipywidgets", "rich", "psutil", "pandas", "seaborn", "pooch", "yaml", "safetensors", "tqdm", "jupytext", "nbformat"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import torch
from labkit.reporting import attack_figure, compare, context, curve, image_row, progress, rate, record, say, table

assert Absent.names.isdisjoint(sys.modules), Absent.names & set(sys.modules)
context.set(context.Lab("10_evasion_gradient", "paper", 0, "cpu"))
x = torch.rand(2, 3, 8, 8)
for _ in progress(range(2), "attacking"):
    pass
record("robust accuracy", rate(torch.tensor([True, False])))
say("Said.")
curve([0, 1], {"a": [1, 0.5], "b": [1, 0.2]}, xlabel="eps", ylabel="accuracy")
image_row(x)
attack_figure(x, x, probabilities=(torch.eye(3)[:2], torch.eye(3)[1:]))
table({"a": [1, 2]})
compare("ev-pgd40-lenet5-shipped", "at-net-success", torch.arange(100) < 7, kind="same weights")
"""


def test_everything_works_as_text_and_the_numbers_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RESULTS", str(tmp_path / "results.jsonl"))
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "robust accuracy: 50% (95% interval" in done.stdout
    assert "[figure] Line chart of accuracy" in done.stdout
    first, second = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert (first["type"], first["value"], first["n"]) == ("result", 0.5, 2)
    assert (second["type"], second["value"], second["outcomes"]["n"]) == ("comparison", 0.07, 100)
