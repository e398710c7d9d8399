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
        cell.metadata = nbformat.from_dict({"tags": list(tags)} if tags else {})
        if HIDDEN_TAGS & set(tags):
            cell.metadata["jupyter"] = {"source_hidden": True}
    kernelspec = notebook.metadata.get("kernelspec", KERNELSPEC)
    notebook.metadata = nbformat.from_dict({"kernelspec": dict(kernelspec), "language_info": dict(LANGUAGE)})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def read_notebook(chapter: Chapter) -> Any:
    """Return the notebook of a chapter's source file."""
    return to_notebook(chapter.path.read_text(encoding="utf-8"), chapter.name)


def to_source(notebook: Any) -> str:
    """Return the percent source of a notebook: outputs, ids and everything but tags are left out."""
    metadata = {
        "jupytext": {
            "notebook_metadata_filter": "kernelspec,-all",
            "cell_metadata_filter": "tags,-all",
            "text_representation": {"extension": ".py", "format_name": "percent", "format_version": "1.3"},
        },
        "kernelspec": dict(notebook.metadata.get("kernelspec", KERNELSPEC)),
    }
    plain = nbformat.from_dict({**notebook, "metadata": metadata})
    return str(jupytext.writes(plain, fmt=_FORMAT))


def dumps(notebook: Any) -> str:
    """Return a notebook as JSON text, laid out as Jupyter does, with one line end at the end."""
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"


def loads(text: str) -> Any:
    """Return the notebook that a JSON text holds. Raises nbformat's errors for anything else."""
    return nbformat.reads(text, as_version=4)
