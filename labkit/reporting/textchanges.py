"""Texts before and after an attack, the changed words marked: struck out and underlined on a page, in brackets in plain text."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from labkit.reporting.emit import emit
from labkit.reporting.tables import html_table, text_table


def text_changes(before: Sequence[str], after: Sequence[str], columns: Mapping[str, Sequence[object]], *, caption: str = "") -> None:
    """Show pairs of texts as one text each with its changes marked, and further ``columns`` beside them.

    Raises ValueError when the sequences differ in length.
    """
    lengths = {"before": len(before), "after": len(after), **{name: len(values) for name, values in columns.items()}}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns differ in length: {lengths}")
    pairs = list(zip(before, after, strict=True))
    names = ["message, with its changes", *columns]
    rows = list(zip(*([str(value) for value in values] for values in columns.values()), strict=True)) or [() for _ in pairs]
    plain = text_table(names, [[marked(a, b), *row] for (a, b), row in zip(pairs, rows, strict=True)])
    page = html_table(names, [[f"\0{i}\0", *row] for i, row in enumerate(rows)], caption=caption)
    for i, (a, b) in enumerate(pairs):
        page = page.replace(f"\0{i}\0", f'<span style="white-space:normal">{marked(a, b, page=True)}</span>')
    emit({"text/html": page, "text/plain": (f"{caption}\n" if caption else "") + plain})


def marked(before: str, after: str, *, page: bool = False) -> str:
    """Return one text with its changes: ``[old > new]``, or on a page struck out and underlined."""
    old, new = before.split(), after.split()
    out = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = " ".join(old[a:b]), " ".join(new[c:d])
        if kind == "equal":
            out.append(html.escape(come) if page else come)
        elif page:
            out.append(f'<del style="opacity:.55">{html.escape(gone)}</del> '
                       f'<ins style="background:#fde7d9;color:#111;text-decoration:underline">{html.escape(come)}</ins>')  # fmt: skip
        else:
            out.append(f"[{gone} > {come}]")
    return " ".join(out)
