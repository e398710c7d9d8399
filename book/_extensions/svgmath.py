"""Formulas as inline SVG, drawn by matplotlib's own TeX subset: no LaTeX, no script, nothing loaded from elsewhere."""

from __future__ import annotations

import html
import re

import numpy as np
import numpy.typing as npt
from docutils import nodes
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextToPath
from sphinx.application import Sphinx
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
SIZE = 16.0  # drawing units per em; the page scales by em
_FONT = FontProperties(family="DejaVu Sans", math_fontfamily="stix", size=SIZE)
_PARSER = MathTextParser("path")
_ROWS = re.compile(r"\\begin\{(aligned|align\*?|gathered)\}(.*?)\\end\{\1\}", re.DOTALL)
# What mathtext lacks or spells otherwise.
_SPELLED = (
    (r"\\(?:tfrac|dfrac)(?![A-Za-z])", r"\\frac"),
    (r"\\(?:text|mbox|textrm)\{([^{}]*)\}", lambda match: r"\mathrm{" + match.group(1).replace(" ", r"\ ") + "}"),
    (r"\\(?:lvert|rvert)(?![A-Za-z])", "|"),
    (r"\\(?:lVert|rVert)(?![A-Za-z])", r"\\Vert"),
    (r"\\(?:bigl|bigr|Bigl|Bigr|big|Big)(?![A-Za-z])", ""),
    (r"\\(?:quad|qquad)(?![A-Za-z])", r"\\ \\ \\ "),
    (r"\\le(?![A-Za-z])", r"\\leq"),
    (r"\\ge(?![A-Za-z])", r"\\geq"),
    (r"\\ne(?![A-Za-z])", r"\\neq"),
    (r"\\!", ""),
    (r"\\to(?![A-Za-z])", r"\\rightarrow"),
)


def svg(latex: str, *, display: bool = False) -> str:
    """Return a formula as an ``<svg>`` in the color of the text around it. Raises ValueError for TeX that cannot be drawn."""
    rows = _lines(latex) if display else [[latex]]
    cells = [[_outline(cell) for cell in row] for row in rows]
    columns = max(len(row) for row in cells)
    widths = [max((row[i][1] for row in cells if i < len(row)), default=0.0) for i in range(columns)]
    total, bottom = sum(widths), 0.0
    paths = []
    for index, row in enumerate(cells):
        above, below = max(cell[2] for cell in row), max(cell[3] for cell in row)
        base = bottom + above + (0.45 * SIZE if index else 0.0)
        left = 0.0
        for i, (data, width, _, _) in enumerate(row):
            shift = left + (widths[i] - width if i % 2 == 0 and columns > 1 else 0.0)  # as in TeX: right, left, right, left
            paths.append(f'<path transform="translate({shift:.2f} {base:.2f}) scale(1 -1)" d="{data}"/>')
            left += widths[i]
        bottom = base + below
    depth = max(cell[3] for cell in cells[0]) if len(cells) == 1 else 0.0
    style = f"width:{total / SIZE:.3f}em;height:{bottom / SIZE:.3f}em" + ("" if display else f";vertical-align:{-depth / SIZE:.3f}em")
    label = html.escape(latex.strip(), quote=True)
    box = f"0 0 {max(total, 0.1):.2f} {max(bottom, 0.1):.2f}"
    return f'<svg class="math" role="img" aria-label="{label}" viewBox="{box}" style="{style}" fill="currentColor">{"".join(paths)}</svg>'


def _lines(latex: str) -> list[list[str]]:
    found = _ROWS.search(latex)
    body = found.group(2) if found else latex
    rows = [row.strip() for row in re.split(r"\\\\", body) if row.strip()]
    return [[cell.strip() for cell in row.split("&")] for row in rows]


def _outline(latex: str) -> tuple[str, float, float, float]:
    """Return path data (y upwards), width, height above and depth below the baseline."""
    text = latex.strip().replace("\n", " ")
    for pattern, replacement in _SPELLED:
        text = re.sub(pattern, replacement, text)
    if not text:
        return "", 0.0, 0.0, 0.0
    try:
        width, height, depth, _, _ = _PARSER.parse(f"${text}$", dpi=72, prop=_FONT)
        vertices, codes = TextToPath().get_text_path(_FONT, f"${text}$", ismath=True)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"the formula ${latex}$ cannot be drawn: {str(error).strip().splitlines()[-1]}") from error
    # Text paths are laid out at a font size of 100 units.
    scale = SIZE / TextToPath.FONT_SCALE
    return _data(np.asarray(vertices, dtype=float) * scale, codes), float(width), float(height - depth), float(depth)


def _data(vertices: npt.NDArray[np.float64], codes: list[np.uint8]) -> str:
    if len(vertices) == 0:
        return ""
    letters = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C"}
    parts = []
    for points, code in Outline(vertices, codes).iter_segments(simplify=False, curves=True):
        parts.append("Z" if code == Outline.CLOSEPOLY else letters[code] + " ".join(f"{value:.2f}" for value in points))
    return "".join(parts)


def _draw(node: nodes.Element, *, display: bool) -> str:
    try:
        return svg(node.astext(), display=display)
    except ValueError as error:
        LOGGER.warning(str(error), location=node, type="svgmath")
        return f"<code>{html.escape(node.astext())}</code>"


def visit_math(translator, node):  # type: ignore[no-untyped-def]
    translator.body.append(_draw(node, display=False))
    raise nodes.SkipNode


def visit_displaymath(translator, node):  # type: ignore[no-untyped-def]
    translator.body.append(f'<div class="math">{_draw(node, display=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("svg", (visit_math, None), (visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
