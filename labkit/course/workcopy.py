"""The learner's copy of the notebooks: made once, updated without losing anything, renewed on request.

``.manifest.json`` of the copy remembers the digest of each notebook as it was delivered. A notebook counts as changed by the
learner when the *sources of its cells* differ from that: running it, or JupyterLab saving it, is no change.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labkit import files
from labkit.course.chapters import Chapter, all_chapters
from labkit.course.errors import CourseError
from labkit.course.progress import free_name, set_aside, work_dir

MANIFEST = ".manifest.json"


@dataclass
class Report:
    """What was done, as paths relative to the copy.

    ``added``; ``updated`` (replaced by a newer version); ``kept`` (changed by the learner: path, and path of the newer version
    beside it); ``deleted`` (by the learner; left so); ``gone`` (no longer in the course; left there); ``waiting`` (newer versions
    that ``labkit update`` would bring); ``notices`` for the learner.
    """

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def prepare(folder: Path | None = None) -> Report:
    """Make the copy, or add the notebooks it never had. Touches no file that is already there."""
    return _bring(folder or work_dir(), overwrite=False)


def update(folder: Path | None = None) -> Report:
    """Bring the copy to the newest course: replace what the learner left as it was, and put newer versions beside the rest.

    Every file is written in one step and may be written again: an interrupted update is finished by the next one.
    """
    return _bring(folder or work_dir(), overwrite=True)


def reset(chapter: Chapter, folder: Path | None = None) -> tuple[Path, Path | None]:
    """Deliver one chapter afresh; return its path and the path at which the old notebook is kept (None when there was none)."""
    folder = folder or work_dir()
    name, text = relative_name(chapter), delivered(chapter)
    path, kept = folder / name, None
    with files.lock(folder / MANIFEST):
        manifest, _ = _load_manifest(folder)
        if path.exists():
            kept = free_name(path, "kept")
            files.write_bytes(kept, path.read_bytes())  # a copy: if this is interrupted, the old notebook is in both places
        files.write_text(path, text)
        _record(folder, manifest, name, _Entry(digest_of(text)))
        beside = path.with_name(f"{path.stem}.new.ipynb")
        if _digest(beside) == digest_of(text):
            beside.unlink()  # it was put there by an update, and is what the chapter now is
    return path, kept


def relative_name(chapter: Chapter) -> str:
    """Return where a chapter lies in the copy, as in ``attacks/10_evasion_gradient.ipynb``."""
    return f"{chapter.part}/{chapter.name}.ipynb"


def delivered(chapter: Chapter) -> str:
    """Return a chapter as a learner gets it: JSON text of the notebook made from its source, without outputs."""
    from labkit.course import notebooks

    return notebooks.dumps(notebooks.read_notebook(chapter))


def digest_of(text: str) -> str:
    """Return the SHA-256 of a notebook's cells: their kinds and sources, in order.

    Outputs, ids and metadata do not count, nor do blank lines at a cell's end and empty cells (JupyterLab adds one after the last
    cell that is run). Raises ValueError for a text that is no notebook.
    """
    try:
        cells: list[dict[str, Any]] = json.loads(text)["cells"]
        pairs = [(cell["cell_type"], "".join(cell["source"]).rstrip()) for cell in cells]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a notebook: {type(error).__name__} {error}") from error
    return hashlib.sha256(json.dumps([pair for pair in pairs if pair[1]]).encode()).hexdigest()


@dataclass
class _Entry:
    """What the manifest knows of a file: the digest the learner started from, and that of the newest version put beside it."""

    delivered: str = ""
    offered: str = ""


def _bring(folder: Path, *, overwrite: bool) -> Report:
    report = Report()
    chapters = all_chapters()
    if not chapters:
        raise CourseError(f"no chapters below {files.project_root() / 'chapters'}: is this a complete checkout?")
    with files.lock(folder / MANIFEST):
        manifest, notice = _load_manifest(folder)
        report.notices += [notice] if notice else []
        for chapter in chapters:
            _bring_one(folder, manifest, chapter, report, overwrite=overwrite)
        present = {relative_name(chapter) for chapter in chapters}
        report.gone = sorted(name for name in manifest if name not in present and (folder / name).exists())
    return report


def _bring_one(folder: Path, manifest: dict[str, _Entry], chapter: Chapter, report: Report, *, overwrite: bool) -> None:
    name, text = relative_name(chapter), delivered(chapter)
    path, new, known = folder / name, digest_of(text), manifest.get(name, _Entry())
    mine = _digest(path)
    if mine == "absent" and known.delivered:
        report.deleted.append(name)
    elif mine == "absent":
        files.write_text(path, text)
        _record(folder, manifest, name, _Entry(new))
        report.added.append(name)
    elif mine == new:  # as delivered, or an update was interrupted after this file
        _record(folder, manifest, name, _Entry(new))
    elif new in (known.delivered, known.offered):
        pass  # the learner's work, on the newest version or beside it; an offer that was thrown away is not made again
    elif not overwrite:
        report.waiting.append(name)
    elif mine == known.delivered:
        files.write_text(path, text)
        _record(folder, manifest, name, _Entry(new))
        report.updated.append(name)
    else:
        beside = _put_beside(path, text, known.offered)
        _record(folder, manifest, name, _Entry(known.delivered, offered=new))
        report.kept.append((name, beside.relative_to(folder).as_posix()))


def _put_beside(path: Path, text: str, offered: str) -> Path:
    """Write a newer version as ``name.new.ipynb``; what lies there already is moved aside if the learner has edited it."""
    beside = path.with_name(f"{path.stem}.new.ipynb")
    there = _digest(beside)
    if there not in ("absent", offered, digest_of(text)):
        set_aside(beside, "kept")
    if there != digest_of(text):
        files.write_text(beside, text)
    return beside


def _digest(path: Path) -> str:
    """Return a file's digest, "absent", or "unreadable" for what is no notebook: the learner's all the same."""
    try:
        return digest_of(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "absent"
    except ValueError:  # broken JSON or encoding
        return "unreadable"


def _load_manifest(folder: Path) -> tuple[dict[str, _Entry], str]:
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {str(name): _Entry(str(entry["delivered"]), str(entry["offered"])) for name, entry in content.items()}, ""
    except FileNotFoundError:
        return {}, ""
    except (ValueError, KeyError, TypeError, AttributeError):
        aside = set_aside(path, "damaged")
        return {}, f"{MANIFEST} was damaged and now lies beside as {aside.name}; notebooks that differ from the course count as yours"


def _record(folder: Path, manifest: dict[str, _Entry], name: str, entry: _Entry) -> None:
    """Write down what was delivered, after the file itself: killed in between, the next run finds equal content and goes on."""
    if manifest.get(name) != entry:
        manifest[name] = entry
        files.write_json(folder / MANIFEST, {"version": 1, "files": {key: asdict(value) for key, value in manifest.items()}})
