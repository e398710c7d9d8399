"""Percent sources, notebooks, the rules for sources, and the agreement of pairs."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.course import lint, notebooks, pairs, percent
from labkit.course.chapters import all_chapters
from tests.course.toys import EMIT, HEADER, Toys, source

GOOD = """
# %% [markdown]
# ## A section
#
# Text with `eps = 0.3`, $\\epsilon = 0.3$ and arXiv 1706.06083.

# %% tags=["hide-input"]
def double(x):
    return 2 * x


# %% tags=["nbval-check-output", "check"]
print(double(2))
"""


def problems(tmp_path: Path, body: str, name: str = "10_toy") -> str:
    path = tmp_path / f"{name}.py"
    path.write_text(source(name, body), encoding="utf-8")
    return "\n".join(lint.lint(path))


def test_a_good_source_has_no_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD) == ""


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("# %%\nx = 1\n# % [markdown]\n# text", "no cell marker"),
        ("# %%\nx = 1\n#%%\ny = 1", "no cell marker"),
        ("# %%\n# %matplotlib inline", "no cell marker"),
        ("# %% some title\nx = 1", "no cell marker"),
        ('# %% tags="check"\nx = 1', "list of tags"),
        ("# %%\n!pip install foo", "installs packages"),
        ("# %%\n# !pip install foo", "installs packages"),
        ("# %%\n%pip install foo", "installs packages"),
        ("# %%\n%%time\nx = 1", "is a magic"),
        ("# %%\nx = = 1", "not Python"),
        ('# %%\nx = "cuda"', 'literal "cuda"'),
        ('# %%\nx = f("cuda:0")', 'literal "cuda"'),
        ("# %%\nmodel.cuda()", "lab.device"),
        ("# %%\nget_ipython()", "plain run"),
        ("# %%\n" + "x = 1\n" * 46, "46 lines"),
        ("# %% [markdown]\n# The attack succeeds on 93 % of them.", "'93 %' is typed by hand"),
        ("# %% [markdown]\n# It takes accuracy from 99.1 to 3.", "'99.1' is typed by hand"),
        ("# %% [markdown]\n# About ninety-five percent, that is 95 percent.", "'95 percent'"),
        ("# %% [markdown]\n# ## Reported numbers\n#\n# 89.3 %\n\n# %% [markdown]\n# ## Next\n#\n# 89.4 %", "'89.4 %'"),
        ("# %% [markdown]\nnot a comment", "without '# '"),
    ],
)
def test_each_rule_refuses(tmp_path: Path, body: str, problem: str) -> None:
    assert problem in problems(tmp_path, body)


@pytest.mark.parametrize(
    "text",
    ["eps is `8/255` or 8/255", "$\\epsilon = 0.031$", "```\naccuracy 0.93\n```", "[paper](https://arxiv.org/abs/1706.06083)",
     "arXiv:1312.6199v4", "Python 3.11 and PyTorch 2.6", "### 2.1 Steps", "10 images of 32x32", "see section 4.2",
     "1,000 images in 3 steps"],
)  # fmt: skip
def test_settings_and_sources_are_no_measurements(tmp_path: Path, text: str) -> None:
    body = "# %% [markdown]\n" + "\n".join(f"# {line}" for line in text.split("\n"))
    assert problems(tmp_path, body) == ""


@pytest.mark.parametrize("start", ['# %% [markdown] tags=["cited"]\n#', "# %% [markdown]\n# ## Reported numbers\n#"])
def test_cited_figures_are_allowed(tmp_path: Path, start: str) -> None:
    cell = start.replace('[markdown] tags=["cited"]', '[markdown] tags=["cited"]')
    assert problems(tmp_path, f"{cell} Madry et al. report 89.3 %.") == ""


def test_the_line_of_a_number_is_told(tmp_path: Path) -> None:
    text = problems(tmp_path, "# %% [markdown]\n# `0.1`\n#\n# 12.5 %")
    line = source("10_toy", "# %% [markdown]\n# `0.1`\n#\n# 12.5 %").split("\n").index("# 12.5 %") + 1
    assert f"line {line}:" in text


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("#     name: python3\n", "", "lacks name"),
        ("#       format_name: percent\n", "", "format_name is not percent"),
        ("#   jupytext:\n", "#   jupytext:\n#     formats: ipynb,py\n", "override jupytext.toml"),
        ('tags=["parameters"]', 'tags=["check"]', "tagged parameters"),
        ("SEED = 0", "SEED = 1", "SEED = 0"),
        ('begin("10_toy"', 'begin("11_toy"', 'begin("10_toy"'),
        ("# ---\n", "", "no YAML header"),
        (HEADER, "# ---\n# jupyter: [\n# ---\n", "not YAML"),
        (HEADER, "# ---\n# jupyter: 1\n", "not closed"),
    ],
)
def test_header_and_first_cells(tmp_path: Path, old: str, new: str, problem: str) -> None:
    text = source("10_toy", GOOD)
    assert old in text
    path = tmp_path / "10_toy.py"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert problem in "\n".join(lint.lint(path))


def test_the_own_parser_and_jupytext_read_the_same() -> None:
    text = source("10_toy", GOOD)
    own = percent.parse(text).cells
    theirs = notebooks.to_notebook(text, "10_toy").cells
    assert [(cell.kind, cell.source, list(cell.tags)) for cell in own] == [
        (cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in theirs
    ]


lines = st.text(alphabet=string.ascii_letters + " =()[]#", max_size=12).map(str.rstrip).filter(lambda line: "%" not in line)


@given(st.lists(st.tuples(st.sampled_from(["code", "markdown"]), st.lists(lines, min_size=1, max_size=4)), min_size=1, max_size=5))
def test_any_cells_survive(cells: list[tuple[str, list[str]]]) -> None:
    text = HEADER
    expected = []
    for kind, rows in cells:
        code = kind == "code"
        rows = [f"x{index} = 1  # a{row.strip()}" if code else row for index, row in enumerate(rows)]
        marker = "# %%" if code else "# %% [markdown]"
        body = rows if code else [f"# {row}".rstrip() for row in rows]
        text += "\n" + "\n".join([marker, *body]) + "\n"
        expected.append("\n".join(row.rstrip() for row in rows))
    own = percent.parse(text).cells
    theirs = notebooks.to_notebook(text, "x").cells
    assert [cell.source.strip() for cell in own] == [row.strip() for row in expected]
    assert [cell.source.strip() for cell in theirs] == [row.strip() for row in expected]


def test_ids_and_metadata_are_deterministic() -> None:
    text = source("10_toy", GOOD)
    one, two = notebooks.to_notebook(text, "10_toy"), notebooks.to_notebook(text, "10_toy")
    assert notebooks.dumps(one) == notebooks.dumps(two)
    ids = [cell["id"] for cell in one.cells]
    assert len(set(ids)) == len(ids)
    assert ids != [cell["id"] for cell in notebooks.to_notebook(text, "11_other").cells]
    hidden = [cell for cell in one.cells if cell.metadata.get("jupyter") == {"source_hidden": True}]
    assert [cell.metadata["tags"] for cell in hidden] == [["hide-input"]]
    assert one.metadata.kernelspec == {"display_name": "Python 3", "language": "python", "name": "python3"}


def test_round_trip(toys: Toys) -> None:
    path = toys.add("10_toy", GOOD, begin=True)
    (chapter,) = all_chapters()
    assert pairs.round_trip(chapter) == []
    path.write_text(path.read_text().replace("# ## A section", "# ## A section  \n#"), encoding="utf-8")
    path.write_text(path.read_text().replace('tags=["hide-input"]', 'tags=["hide-input"] other=1'), encoding="utf-8")
    assert "would come back" in pairs.round_trip(chapter)[0]


def published(toys: Toys) -> tuple[Path, dict[str, object]]:
    """A pair as the publisher would leave it, made without a kernel."""
    source_file = toys.add("10_toy", EMIT)
    (chapter,) = all_chapters()
    notebook = notebooks.read_notebook(chapter)
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
    notebook.metadata["labkit"] = {"source_sha256": notebooks.source_sha256(source_file), "profile": "quick", "seed": 0}
    chapter.notebook.write_text(notebooks.dumps(notebook), encoding="utf-8")
    return chapter.notebook, json.loads(notebooks.dumps(notebook))


def test_a_good_pair_has_no_problem(toys: Toys) -> None:
    published(toys)
    assert pairs.check(all_chapters()[0]) == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda nb: nb["metadata"]["labkit"].update(source_sha256="0"), "stale"),
        (lambda nb: nb["metadata"]["labkit"].update(profile="paper"), "profile paper"),
        (lambda nb: nb["metadata"].update(widgets={}), "widgets"),
        (lambda nb: nb["cells"].pop(), "3 cells, the notebook 2"),
        (lambda nb: nb["cells"][1].update(source=["x = 1"]), "cell 2 differs"),
        (lambda nb: nb["cells"][1].update(id="abc"), "id abc"),
        (lambda nb: nb["cells"][1]["metadata"].update(collapsed=True), "metadata"),
        (lambda nb: nb["cells"][1].update(execution_count=7), "not executed once"),
        (lambda nb: nb["cells"][1].update(outputs=[{"output_type": "error", "ename": "E", "evalue": "v", "traceback": []}]), "ended in E"),
        (lambda nb: nb["cells"][1].update(outputs=[{"output_type": "stream", "name": "stdout", "text": ["/root/x/y.py"]}]), "path of one"),
        (
            lambda nb: nb["cells"][1].update(
                outputs=[{"output_type": "display_data", "metadata": {}, "data": {"application/vnd.jupyter.widget-view+json": {}}}]
            ),
            "widget",
        ),
    ],
)  # fmt: skip
def test_each_fault_of_a_pair_is_seen(toys: Toys, damage: object, problem: str) -> None:
    path, notebook = published(toys)
    damage(notebook)  # type: ignore[operator]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert problem in "\n".join(pairs.check(all_chapters()[0]))


def test_missing_and_broken_notebooks(toys: Toys) -> None:
    path, _ = published(toys)
    path.write_text("{", encoding="utf-8")
    assert "cannot be read" in pairs.check(all_chapters()[0])[0]
    path.unlink()
    assert "no notebook beside its source" in pairs.check(all_chapters()[0])[0]
