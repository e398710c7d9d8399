"""A tiny course in a temporary folder: what the tests of the runner run instead of real chapters."""

from __future__ import annotations

from pathlib import Path

HEADER = """# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
"""

PARAMETERS = '''
# %% tags=["parameters"]
PROFILE = "quick"
SEED = 0
'''


def source(name: str, body: str, *, begin: bool = True) -> str:
    """Return the source of chapter ``name``: header, title, parameters, `begin` and ``body``."""
    start = f'\n# %%\nfrom labkit.course import begin\n\nlab = begin("{name}", PROFILE, SEED)\n' if begin else ""
    return f"{HEADER}\n# %% [markdown]\n# # {name}\n#\n# A toy.\n{PARAMETERS}{start}\n{body.strip()}\n"


# A result as `record` gives it, without importing torch: the kernels of most tests then start in a second.
EMIT = """
# %%
import json, os, sys

payload = {"type": "result", "name": "answer", "value": 42 + SEED, "n": 7, "profile": PROFILE}
if os.environ.get("LABKIT_PLAIN"):
    with open(os.environ["LABKIT_RESULTS"], "a") as file:
        file.write(json.dumps(payload) + chr(10))
else:
    from IPython.display import display

    display({"text/plain": "answer: 42", "application/vnd.labkit.result+json": payload}, raw=True)
"""


class Toys:
    """A course's checkout at ``root``; `add` writes chapters into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "chapters").mkdir(parents=True)
        (root / "labkit").mkdir()

    def add(self, name: str, body: str = EMIT, *, part: str = "attacks", begin: bool = False) -> Path:
        """Write a chapter. ``begin=False`` (default) leaves out the cell that imports torch."""
        path = self.root / "chapters" / part / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source(name, body, begin=begin), encoding="utf-8")
        return path
