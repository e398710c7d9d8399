"""The README's picture: taken from the published start chapter, so that it never shows what the chapter no longer does."""

from __future__ import annotations

import base64
import json
from pathlib import Path

NOTEBOOK = Path("chapters/foundations/00_start_here.ipynb")
PICTURE = Path("book/stop-sign.png")


def picture_of(notebook: Path) -> bytes:
    """Return the PNG of the first attack figure of a published notebook. Raises LookupError when it has none."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and "attack_figure(x, x_adv" in "".join(cell["source"]):
            for output in cell["outputs"]:
                if png := output.get("data", {}).get("image/png"):
                    return base64.b64decode("".join(png))
    raise LookupError(f"{notebook} shows no attack figure")


def refresh(root: Path) -> None:
    """Write the README's picture anew from the published notebook."""
    from labkit.files import write_bytes

    write_bytes(root / PICTURE, picture_of(root / NOTEBOOK))
