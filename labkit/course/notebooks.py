"""From a chapter's percent source to a notebook and back, with ids and metadata that never change by themselves."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from labkit.course.chapters import Chapter

# Magics stay comments: a chapter must run as plain Python, and reading must be undone exactly by writing.
_FORMAT = {"extension": ".py", "format_name": "percent", "comment_magics": False}
# The same as in jupytext.toml: an author's JupyterLab and this module write a source alike.
_FILTERS = {
    "notebook_metadata_filter": "kernelspec,jupytext.text_representation.extension,jupytext.text_representation.format_name,-all",
    "cell_metadata_filter": "tags,-all",
}
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python", "pygments_lexer": "ipython3"}
HIDDEN_TAGS = frozenset({"hide-input", "solution"})


def cell_id(chapter: str, position: int) -> str:
    """Return the id of a chapter's cell: 12 hexadecimal digits of the hash of chapter and position."""
    return hashlib.sha256(f"{chapter}/{position}".encode()).hexdigest()[:12]


def source_sha256(path: Path) -> str:
    """Return the SHA-256 of a source with Unix line ends, so that a Windows checkout agrees."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def to_notebook(text: str, chapter: str) -> Any:
    """Return the notebook (nbformat node, no outputs) of a chapter's percent source."""
    notebook = jupytext.reads(text.replace("\r\n", "\n"), fmt=_FORMAT)
    for position, cell in enumerate(notebook.cells):
        cell["id"] = cell_id(chapter, position)
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": list(tags)} if tags else {})  # type: ignore[no-untyped-call]
        if HIDDEN_TAGS & set(tags):
            cell.metadata["jupyter"] = {"source_hidden": True}
    kernelspec = notebook.metadata.get("kernelspec", KERNELSPEC)
    notebook.metadata = nbformat.from_dict({"kernelspec": dict(kernelspec), "language_info": dict(LANGUAGE)})  # type: ignore[no-untyped-call]
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def read_notebook(chapter: Chapter) -> Any:
    """Return the notebook of a chapter's source file."""
    return to_notebook(chapter.path.read_text(encoding="utf-8"), chapter.name)


def round_trip(text: str) -> str:
    """Return what Jupytext makes of a percent source when it is opened and saved unchanged: it should be the source."""
    notebook = jupytext.reads(text, fmt=_FORMAT)
    notebook.metadata["jupytext"] = {**_FILTERS, **notebook.metadata.get("jupytext", {})}
    return str(jupytext.writes(notebook, fmt=_FORMAT))


def dumps(notebook: Any) -> str:
    """Return a notebook as JSON text, laid out as Jupyter does, with one line end at the end."""
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"  # type: ignore[no-untyped-call]


def loads(text: str) -> Any:
    """Return the notebook that a JSON text holds. Raises nbformat's errors for anything else."""
    return nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
