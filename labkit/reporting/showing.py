"""Show a figure with what makes it readable for everybody: its description as alt text, and its data beside it."""

from __future__ import annotations

import base64
import html
import io
import sys
from typing import TYPE_CHECKING, Any

from labkit.reporting.emit import emit
from labkit.reporting.tables import csv_text, format_cells, html_table, text_table, to_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120  # sharp on a laptop, and still some 30 kB a chart
TABLE_ROWS = 24  # longer data are shown as comma-separated values
MOST_ROWS = 300  # and thinned out from here on, which the text then says


def show(fig: Figure, *, alt: str, data: Any = None) -> None:
    """Show ``fig`` as a PNG whose alt text is ``alt``, with ``data`` folded away below it.

    ``data``: whatever `table` takes. The figure is closed, so that it is not shown twice.
    Raises ValueError when ``alt`` is empty: a figure nobody can hear described is not finished.
    """
    if not alt.strip():
        raise ValueError("a figure needs alt text: say in one or two sentences what it shows")
    width, height = (round(float(inches) * 96) for inches in fig.get_size_inches())
    metadata = {"image/png": {"alt": alt, "width": width, "height": height}}
    emit({"image/png": base64.b64encode(png(fig)).decode("ascii"), "text/plain": f"[figure] {alt}"}, metadata=metadata)
    emit(_beside(alt, data))
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(fig)


def png(fig: Figure) -> bytes:
    """Return ``fig`` as PNG bytes that are the same on every run: no date, no software version."""
    from PIL import Image

    drawn, buffer = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})
    # 256 colors, chosen for this picture, are enough for the eye and halve the notebook.
    picture = Image.open(drawn).convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _beside(alt: str, data: Any) -> dict[str, str]:
    summary = "Description and data of this figure" if data is not None else "Description of this figure"
    described = f"<p>{html.escape(alt)}</p>"
    plain = ""
    if data is not None:
        columns, rows = to_rows(data)
        cells = format_cells(columns, rows, {})
        if len(rows) <= TABLE_ROWS:
            described += html_table(columns, cells)
            plain = text_table(columns, cells)
        else:
            stride = -(-len(rows) // MOST_ROWS)
            note = f"Every {stride}th of {len(rows)} rows." if stride > 1 else ""
            values = csv_text(columns, rows[::stride])
            described += f"<p>{note}</p>" * bool(note) + f'<pre style="max-height:20em;overflow:auto">{html.escape(values)}</pre>'
            plain = f"{len(rows)} rows of data: {', '.join(columns)}"
    return {
        "text/html": f'<details><summary style="cursor:pointer;opacity:.75">{summary}</summary>{described}</details>',
        "text/plain": plain or summary,
    }
