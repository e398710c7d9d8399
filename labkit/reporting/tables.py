"""Tables in HTML and in plain text, from columns, records or a data frame; pandas is not needed."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.reporting.emit import emit
from labkit.reporting.formatting import number, percent

Rows = list[list[Any]]


def table(data: Any, *, caption: str = "", units: Mapping[str, str] | None = None) -> None:
    """Show a table. ``data``: a mapping from column to values, a sequence of mappings (one per row), or a data frame.

    ``units``: column to unit; "%" shows fractions as percentages. Numbers stand right, text left.
    """
    columns, rows = to_rows(data)
    cells = format_cells(columns, rows, units or {})
    plain = (f"{caption}\n" if caption else "") + text_table(columns, cells)
    emit({"text/plain": plain, "text/html": html_table(columns, cells, caption=caption)})


def to_rows(data: Any) -> tuple[list[str], Rows]:
    """Return the column names and the rows of any table `table` takes. Raises ValueError when columns differ in length."""
    if hasattr(data, "to_dict") and hasattr(data, "columns"):  # a data frame, of whatever library
        data = {str(name): list(data[name]) for name in data.columns}
    if isinstance(data, Mapping):
        values = [_listed(column) for column in data.values()]
        lengths = {str(name): len(column) for name, column in zip(data, values, strict=True)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns differ in length: {lengths}")
        return [str(name) for name in data], [list(row) for row in zip(*values, strict=True)]
    if isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
        columns = list(dict.fromkeys(str(name) for row in data for name in row))
        return columns, [[_scalar(row.get(name, "")) for name in columns] for row in data]
    raise ValueError(f"a table is a mapping of columns, a sequence of mappings or a data frame, not {type(data).__name__}")


def format_cells(columns: list[str], rows: Rows, units: Mapping[str, str]) -> list[list[str]]:
    """Return every cell as text."""
    return [[_cell(value, units.get(name, "")) for name, value in zip(columns, row, strict=True)] for row in rows]


def html_table(columns: list[str], cells: list[list[str]], *, caption: str = "") -> str:
    """Return an HTML table: a caption, a head with scopes, numbers to the right."""
    sides = ["right" if _numeric(column) else "left" for column in zip(*cells, strict=True)] or ["left"] * len(columns)
    head = "".join(f'<th scope="col" style="text-align:{side}">{html.escape(name)}</th>' for name, side in zip(columns, sides, strict=True))
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:{s}">{html.escape(c)}</td>' for c, s in zip(row, sides, strict=True)) + "</tr>"
        for row in cells
    )
    title = f'<caption style="text-align:left">{html.escape(caption)}</caption>' if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def text_table(columns: list[str], cells: list[list[str]]) -> str:
    """Return the table as aligned plain text."""
    lines = [columns, *cells]
    widths = [max(len(row[i]) for row in lines) for i in range(len(columns))]
    right = [_numeric(column) for column in zip(*cells, strict=True)] or [False] * len(columns)
    pad = [str.rjust if numeric else str.ljust for numeric in right]
    drawn = ["  ".join(p(c, w) for p, c, w in zip(pad, row, widths, strict=True)).rstrip() for row in lines]
    return "\n".join([drawn[0], "  ".join("-" * width for width in widths), *drawn[1:]])


def csv_text(columns: list[str], rows: Rows) -> str:
    """Return comma-separated values; floats keep six significant digits."""

    def quoted(value: Any) -> str:
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n') else text

    return "\n".join(",".join(quoted(value) for value in row) for row in [columns, *rows])


def _listed(column: Any) -> list[Any]:
    values = column.detach().cpu().tolist() if hasattr(column, "detach") else column.tolist() if hasattr(column, "tolist") else column
    return [_scalar(value) for value in values]


def _scalar(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def _cell(value: Any, unit: str) -> str:
    if hasattr(value, "value") and hasattr(value, "n") and hasattr(value, "interval"):  # a rate brings its denominator
        if not value.n:
            return "- (0 of 0)"
        return f"{percent(float(value), value.n)} ({round(float(value) * value.n):,} of {value.n:,})"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return number(value, unit) if isinstance(value, (int, float)) else str(value)


def _numeric(column: Sequence[str]) -> bool:
    return any(cell not in ("", "-") for cell in column) and all(cell in ("", "-") or cell[0] in "+-0123456789" for cell in column)
