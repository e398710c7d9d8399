"""What a run gathers: every recorded number with where, when and by what code it was measured. Standard library only."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

MIME_PREFIX = "application/vnd.labkit."
PAYLOADS = {MIME_PREFIX + "result+json": "result", MIME_PREFIX + "comparison+json": "comparison"}
CONTEXT = MIME_PREFIX + "context+json"
_VERSIONS = ("labkit", "torch", "torchvision", "numpy", "scikit-learn")
_PACKAGE = Path(__file__).resolve().parent.parent


def append_line(path: str | Path, value: dict[str, Any]) -> None:
    """Append one JSON line in a single write, so that lines of several processes are not torn."""
    with open(path, "ab") as file:
        file.write((json.dumps(value, sort_keys=True, default=str) + "\n").encode("utf-8"))


def read_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON lines of a file; a last line that a killed process left half-written is passed over."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return
    complete, _, _ = content.rpartition(b"\n")
    for line in complete.splitlines():
        yield json.loads(line)


def from_notebook(notebook: Any) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return a notebook's context (see `begin`) and its recorded payloads, each with the position of its cell."""
    context: dict[str, Any] | None = None
    found: list[dict[str, Any]] = []
    for position, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            context = dict(data[CONTEXT]) if CONTEXT in data else context
            found += [
                {"type": kind, "cell": position, "payload": dict(data[mime])} for mime, kind in PAYLOADS.items() if mime in data
            ]
    return context, found


def from_lines(path: str | Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the same as `from_notebook`, from the file that a plain run was given in ``LABKIT_RESULTS``."""
    context: dict[str, Any] | None = None
    found: list[dict[str, Any]] = []
    cell = 0
    for line in read_lines(path):
        if line.get("type") == "context":
            context = line
        elif line.get("type") == "cell":
            cell = line["cell"]
        elif line.get("type") in PAYLOADS.values():
            found.append({"type": line["type"], "cell": cell, "payload": line})
    return context, found


def results_lines(run: str, records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the lines of ``results.jsonl``: one per chapter, and one per recorded number with its provenance."""
    for record in records:
        provenance = {"run": run} | {
            key: record.get(key)
            for key in (
                "chapter", "profile", "seed", "engine", "device", "versions", "commit", "source_sha256", "code_sha256",
                "seconds", "peak_mib", "finished",
            )
        }  # fmt: skip
        yield {"type": "chapter", "chapter": record["chapter"], "status": record["status"], "cells": record["cells"],
               "error": record.get("error"), "provenance": provenance}  # fmt: skip
        for result in record.get("results", []):
            yield {**result, "chapter": record["chapter"], "provenance": provenance}


def versions() -> dict[str, str]:
    """Return the versions of what a number depends on; a package that is not installed is left out."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()}-{platform.machine()}"}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if "labkit" not in found:  # run from a checkout that was not installed
        from labkit import __version__

        found["labkit"] = __version__
    return found


def commit(root: Path) -> str | None:
    """Return the checkout's commit, with "+changes" when files differ from it, or None outside a git checkout."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=30, env=environment
        )
        return done.stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        # Published notebooks are products: their being new does not make a number's code uncommitted.
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)*.ipynb")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+changes" if changed else "")


def code_sha256() -> str:
    """Return a hash of labkit's own code: a number may change when it does."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0")
        digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def key(source_sha256: str, code: str, profile: str, seed: int, engine: str) -> str:
    """Return what a chapter's results depend on, hashed: equal keys mean that running again would tell nothing new."""
    parts = (source_sha256, code, profile, seed, engine, sorted(versions().items()), os.environ.get("LABKIT_DEVICE", ""), sys.platform)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
