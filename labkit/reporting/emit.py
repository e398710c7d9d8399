"""One door out: a result goes into the notebook's output, or, without Jupyter, to standard output and a results file."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

RESULT_MIME = "application/vnd.labkit.result+json"
COMPARISON_MIME = "application/vnd.labkit.comparison+json"


def in_notebook() -> bool:
    """Return whether an IPython kernel or shell is running this code, and ``LABKIT_PLAIN`` does not say otherwise."""
    if os.environ.get("LABKIT_PLAIN", "") not in ("", "0") or "IPython" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    return get_ipython() is not None  # type: ignore[no-untyped-call, unused-ignore]


def emit(bundle: dict[str, Any], *, metadata: dict[str, Any] | None = None) -> None:
    """Show one output. ``bundle``: MIME type to content; ``text/plain`` is needed, it is all that a plain run shows.

    A plain run appends the machine-readable part, one JSON object a line, to the file that ``LABKIT_RESULTS`` names.
    """
    if in_notebook():
        from IPython.display import display

        display(bundle, raw=True, metadata=metadata or {})  # type: ignore[no-untyped-call, unused-ignore]
        return
    sys.stdout.write(bundle["text/plain"].rstrip("\n") + "\n")
    sys.stdout.flush()
    payloads = [bundle[mime] for mime in (RESULT_MIME, COMPARISON_MIME) if mime in bundle]
    if payloads and (path := os.environ.get("LABKIT_RESULTS")):
        _append(path, payloads)


def _append(path: str, payloads: list[dict[str, Any]]) -> None:
    # A single write in append mode: lines of processes that share the file are not torn.
    lines = "".join(json.dumps(payload, sort_keys=True, allow_nan=False) + "\n" for payload in payloads)
    with open(path, "ab") as file:
        file.write(lines.encode("utf-8"))
