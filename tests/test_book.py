"""The static site: built from published notebooks without executing them, warnings are errors, nothing is loaded from elsewhere."""

import argparse
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from labkit.course.commands import book
from labkit.course.errors import CourseError
from labkit.reporting import curve, emit, heatmap, record, say

REPOSITORY = Path(__file__).parents[1]
pytest.importorskip("myst_nb", reason="the book extra (sphinx, myst-nb, furo) is not installed")
# What makes a browser fetch something; a hyperlink that waits for a click is not among them.
FETCHES = re.compile(
    r"""(?:\bsrc|\bsrcset|\bposter|\bdata)\s*=\s*["']?\s*(?:https?:)?//|<link\b[^>]*href\s*=\s*["']?(?:https?:)?//"""
    r"""|url\(\s*["']?(?:https?:)?//|@import\s+["'](?:https?:)?//|<(?:iframe|object|embed)\b|\bfetch\(\s*["']https?:""",
    re.IGNORECASE,
)


def outputs_of(monkeypatch, *functions):
    """Return the outputs that a notebook would hold."""
    import IPython.display

    found = []
    monkeypatch.setattr(emit, "in_notebook", lambda: True)
    monkeypatch.setattr(
        IPython.display, "display", lambda bundle, raw, metadata: found.append(v4.new_output("display_data", bundle, metadata=metadata))
    )
    for function in functions:
        function()
    return found


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A toy checkout with two published chapters."""
    monkeypatch.setenv("LABKIT_ROOT", str(tmp_path))
    figure = outputs_of(monkeypatch, lambda: curve([0, 1], {"a": [1, 0.5], "b": [1, 0.2]}, xlabel="eps", ylabel="accuracy", unit="%"),
                        lambda: heatmap([[0.5]], ["r"], ["c"], label="x"))  # fmt: skip
    number = outputs_of(monkeypatch, lambda: record("robust accuracy", 0.5, n=10, interval="wilson", unit="%"),
                        lambda: say("**Half** of it."))  # fmt: skip
    write(tmp_path, "attacks", "10_toy_attack", [
        v4.new_markdown_cell("# 10. A toy attack\n\n- break a thing | or two;\n\nThe loss $L(x + \\delta)$ grows, "
                             "see [the defense](../defenses/40_toy_defense.ipynb).\n\n"
                             "$$\\begin{aligned} a &= \\sum_i x_i \\\\ b &\\leq \\lVert x \\rVert_1 \\end{aligned}$$"),
        v4.new_code_cell('PROFILE = "quick"', metadata={"tags": ["parameters"]}),
        v4.new_code_cell("raise RuntimeError('a book that executes fails here')", outputs=figure, execution_count=1),
        v4.new_code_cell("record(...)", outputs=number, execution_count=2, metadata={"tags": ["hide-input"]}),
    ])  # fmt: skip
    write(tmp_path, "defenses", "40_toy_defense", [v4.new_markdown_cell("# A toy defense\n\nText."), v4.new_code_cell("1 + 1")])
    return tmp_path


def write(root, part, name, cells):
    folder = root / "chapters" / part
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text("# %%\n")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}, "language_info": {"name": "python"}}
    nbformat.write(v4.new_notebook(cells=cells, metadata=kernel), folder / f"{name}.ipynb")


def build(out=None):
    return book.run(argparse.Namespace(out=out))


def pages(site):
    return {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_the_site_is_whole_and_loads_nothing_from_elsewhere(tree):
    assert build() == 0
    site = tree / "book" / "_build" / "html"
    found = pages(site)
    chapter = found["attacks/10_toy_attack.html"]
    assert re.search(r'<img alt="Line chart of accuracy against eps[^"]*"', chapter)
    assert chapter.count('<img alt="') == 2
    assert chapter.count('<svg class="math"') == 2
    assert 'aria-label="L(x + \\delta)"' in chapter
    assert "robust accuracy: <strong>50%</strong>" in chapter
    assert "<strong>Half</strong> of it." in chapter
    assert "hide-input" in chapter
    assert 'href="../defenses/40_toy_defense.html"' in chapter
    assert '<a class="reference internal" href="attacks/10_toy_attack.html">' in found["index.html"]
    assert "break a thing | or two<" in found["index.html"]
    assert "A toy defense" in found["index.html"]
    for name, text in found.items():
        addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text)) - {"http://www.w3.org/2000/svg"}  # a namespace, not an address
        assert not addresses, (name, addresses)
        assert not FETCHES.search(text), name
    for path in [*site.rglob("*.css"), *site.rglob("*.js")]:
        assert not FETCHES.search(path.read_text(encoding="utf-8")), path.name


def test_broken_links_odd_formulas_and_mute_figures_stop_the_build(tree, capfd):
    write(tree, "practice", "50_broken", [
        v4.new_markdown_cell("# Broken\n\nSee [nothing](../attacks/11_not_there.ipynb).\n\nA formula: $\\notacommand{x}$."),
        v4.new_code_cell("1", outputs=[v4.new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "x"})]),
    ])  # fmt: skip
    assert build(tree / "site") != 0
    captured = capfd.readouterr()
    for message in ("11_not_there", "cannot be drawn", "no alt text"):
        assert message in captured.err
    assert "NOT built" in captured.out


def test_formulas_are_drawn_in_the_color_of_the_text_and_named(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "book" / "_extensions"))
    from svgmath import svg

    drawn = svg(r"\max_{\lVert\delta\rVert_\infty \le \varepsilon} L(x+\delta)")
    assert 'fill="currentColor"' in drawn
    assert drawn.count("<path") == 1
    widths = [float(re.search(r"width:([\d.]+)em", svg(tex))[1]) for tex in ("x", "xx", r"\frac{xxx}{y}")]
    assert 0.3 < widths[0] < widths[1] < 2
    assert svg(r"\begin{aligned} a &= b \\ c &\leq d \end{aligned}", display=True).count("<path") == 4
    with pytest.raises(ValueError, match="cannot be drawn"):
        svg(r"\frac{1}")


def test_a_tree_without_published_notebooks_or_titles_is_told_so(tree):
    write(tree, "practice", "50_untitled", [v4.new_markdown_cell("No title.")])
    with pytest.raises(CourseError, match="has no title"):
        build()
    for path in (tree / "chapters").rglob("*.ipynb"):
        path.unlink()
    with pytest.raises(CourseError, match="labkit run --publish"):
        build()


def test_the_fetch_check_can_fail():
    planted = [
        '<script src="https://cdn.example.org/x.js">', '<link rel="stylesheet" href="//fonts.example.org/css">', '<iframe src="x">',
        "body { background: url(https://example.org/x.png) }", '@import "https://example.org/a.css"',
    ]  # fmt: skip
    assert all(FETCHES.search(text) for text in planted)
    assert not FETCHES.search('<a href="https://arxiv.org/abs/1412.6572">Goodfellow</a>')


def test_the_course_builds_and_loads_nothing_from_elsewhere(tmp_path, monkeypatch):
    if not list((REPOSITORY / "chapters").glob("*/*.ipynb")):
        pytest.skip("no chapter has been published yet")
    # In a folder of its own, so that a book that somebody is reading stays as it is.
    monkeypatch.setenv("LABKIT_ROOT", str(tmp_path))
    for name in ("chapters", "data/reproduced"):
        if sys.platform == "win32":
            pytest.skip("symbolic links need rights on Windows")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(REPOSITORY / name)
    assert build() == 0
    for name, text in pages(tmp_path / "book" / "_build" / "html").items():
        assert not FETCHES.search(text), name
