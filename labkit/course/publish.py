"""Write the paired notebook: the executed one without what differs from machine to machine, or from day to day."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat

from labkit import __version__
from labkit.course import notebooks, picture
from labkit.course.chapters import Chapter, all_chapters
from labkit.course.errors import CourseError
from labkit.course.runs import Run

LARGEST = 600_000  # bytes; heavier notebooks make the repository grow with every publication
HEAVY = 400_000  # bytes; from here on the author is told
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# What would tell whose machine this was. A path in prose ("/tmp") does not count: a name must follow.
ABSOLUTE_PATH = re.compile(r"(?:/home/|/root/|/Users/|/tmp/|/private/|/var/folders/|/opt/|/work/|[A-Z]:\\+Users\\)[\w.\-]")
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,16}\b")
_KERNEL_FILE = re.compile(r"(?<!\S)\S*ipykernel_\d+[/\\]\d+\.py(?::\d+)?")
_TEXT_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml")


class NotPublished(CourseError):
    """A notebook that must not stand beside its source; the text says why."""


def publish_run(run: Run, root: Path) -> int:
    """Publish the chapters of ``run`` that ended well, saying so; return 1 when one could not be published."""
    records = run.records()
    status = 0
    for chapter in all_chapters(root):
        if chapter.name not in run.chapters:
            continue
        record = records.get(chapter.name)
        try:
            if record is None or record["status"] != "ok":
                raise NotPublished("it did not run to its end")
            size = publish(chapter, run.folder / record["notebook"], root, record)
            if chapter.notebook == root / picture.NOTEBOOK:
                picture.refresh(root)
            note = f", heavy: {heaviest(chapter)}" if size > HEAVY else ""
            sys.stdout.write(f"published {chapter.notebook.relative_to(root)} ({size / 1000:.0f} kB{note})\n")
        except NotPublished as error:
            status = 1
            sys.stdout.write(f"NOT published {chapter.name}: {error}\n")
    return status


def publish(chapter: Chapter, executed: Path, root: Path, record: dict[str, Any]) -> int:
    """Write ``chapter.notebook`` from the executed notebook, atomically, and return its size in bytes.

    Raises NotPublished for error outputs, widgets without a picture, absolute paths, over 600 kB, or a source that
    changed since it was run.
    """
    from labkit.files import write_text

    if notebooks.source_sha256(chapter.path) != record["source_sha256"]:
        raise NotPublished("its source changed since this run; run it again")
    if (record["profile"], record["seed"]) != ("quick", 0):
        raise NotPublished(f"it ran in profile {record['profile']} with seed {record['seed']}; published is quick, 0")
    notebook = clean(notebooks.loads(executed.read_text(encoding="utf-8")), chapter, root)
    notebook.metadata["labkit"] = {
        "labkit_version": __version__, "profile": "quick", "seed": 0, "source_sha256": record["source_sha256"],
    }  # fmt: skip
    problems = residue(notebook)
    if problems:
        raise NotPublished("; ".join(problems))
    text = notebooks.dumps(notebook)
    size = len(text.encode("utf-8"))
    if size > LARGEST:
        raise NotPublished(f"{size / 1000:.0f} kB, over {LARGEST / 1000:.0f} kB; the heaviest: {_heaviest(notebook)}")
    write_text(chapter.notebook, text)
    return size


def clean(executed: Any, chapter: Chapter, root: Path) -> Any:
    """Return a fresh notebook of the chapter's source with the executed one's outputs, made independent of machine and day."""
    fresh = notebooks.read_notebook(chapter)
    outputs = {cell.get("id"): cell.get("outputs", []) for cell in executed.cells if cell.cell_type == "code"}
    count = 0
    for cell in fresh.cells:
        if cell.cell_type != "code":
            continue
        if cell["id"] not in outputs:
            raise NotPublished("the executed notebook is not of this source; run it again")
        count += 1
        cell.execution_count = count
        lasting = [output for output in outputs[cell["id"]] if not _passing(output)]
        cell.outputs = [_clean_output(output, count, root) for output in _merge_streams(lasting)]
    return fresh


def _passing(output: Any) -> bool:
    """Say whether an output is only progress, which is there when work took long and not when it did not."""
    return bool(output.get("metadata", {}).get("labkit") == "progress")


def _clean_output(output: Any, count: int, root: Path) -> Any:
    if output.output_type == "stream":
        output.text = _anonymous(output.text, root)
    elif output.output_type in ("display_data", "execute_result"):
        for mime in _TEXT_TYPES:
            if mime in output.data:
                output.data[mime] = _anonymous("".join(output.data[mime]), root)
        if output.output_type == "execute_result":
            output.execution_count = count
    return output


def _anonymous(text: str, root: Path) -> str:
    """Replace the folders of this machine by names, memory addresses by dots, and overwritten lines by their last state."""
    text = overwrite(text)
    text = _KERNEL_FILE.sub("<cell>", text)
    text = _ADDRESS.sub("at 0x...", text)
    for folder, name in _folders(root):
        text = text.replace(folder, name)
    return text


def _folders(root: Path) -> list[tuple[str, str]]:
    """Return this machine's folders with the names that stand for them, the longest first."""
    named = {str(root): "<course>", sys.prefix: "<python>", sys.base_prefix: "<python>", tempfile.gettempdir(): "<temporary>",
             str(Path.home()): "~"}  # fmt: skip
    for variable in ("LABKIT_CACHE", "LABKIT_DATA"):
        if value := os.environ.get(variable):
            named[value] = f"<{variable}>"
    return sorted(((folder, name) for folder, name in named.items() if len(folder) > 1), key=lambda pair: -len(pair[0]))


def overwrite(text: str) -> str:
    """Return what a terminal shows in the end: text after a carriage return replaces the line before it."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def _merge_streams(outputs: list[Any]) -> list[Any]:
    """Join neighboring pieces of one stream: how a kernel cuts it depends on the moment, and a line may be overwritten later."""
    merged: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and merged and merged[-1].output_type == "stream" and merged[-1].name == output.name:
            merged[-1].text += output.text
        else:
            merged.append(nbformat.from_dict(dict(output)))  # type: ignore[no-untyped-call]  # a copy: the executed notebook stays
    return merged


def residue(notebook: Any) -> list[str]:
    """Return what must not stand in a published notebook: errors, papermill's marks, widgets' states, absolute paths."""
    problems = [f"notebook metadata holds {key}" for key in ("papermill", "widgets") if key in notebook.metadata]
    for number, cell in enumerate(notebook.cells, 1):
        tags = set(cell.metadata.get("tags", []))
        problems += [f"cell {number} is papermill's" for tag in ("injected-parameters", "papermill-error-cell-tag") if tag in tags]
        problems += [f"cell {number} has {key} metadata" for key in ("papermill", "execution") if key in cell.metadata]
        for output in cell.get("outputs", []):
            problems += [f"cell {number} {what}" for what in _output_residue(output)]
    return problems


def _output_residue(output: Any) -> list[str]:
    if output.output_type == "error":
        return [f"ended in {output.ename}: {output.evalue}"]
    data = output.get("data", {})
    found = ["shows a widget, which is dead on a page; give it a picture"] if WIDGET_VIEW in data else []
    texts = [output.get("text", ""), *("".join(data[mime]) for mime in _TEXT_TYPES if mime in data)]
    for text in texts:
        if match := ABSOLUTE_PATH.search(text):
            line = next(line for line in text.split("\n") if ABSOLUTE_PATH.search(line))
            found.append(f"shows a path of one machine ({match.group()}... in {line.strip()[:120]!r})")
        if "\r" in text:
            found.append("holds the frames of a progress bar")
    return found


def heaviest(chapter: Chapter) -> str:
    """Return the three heaviest cells of a published notebook, with their sizes."""
    return _heaviest(notebooks.loads(chapter.notebook.read_text(encoding="utf-8")))


def _heaviest(notebook: Any) -> str:
    sizes = sorted(((len(str(cell.get("outputs", ""))), number) for number, cell in enumerate(notebook.cells, 1)), reverse=True)
    return ", ".join(f"cell {number} ({size / 1000:.0f} kB)" for size, number in sizes[:3])
