"""What ``labkit doctor`` looks at: each finding is good, worth knowing, or a problem with its remedy.

Standard library and ``packaging`` only until a package has been found to be installed: the doctor must be able to examine
a broken installation.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

Grade = Literal["good", "note", "problem"]
ESSENTIAL = ("torch", "torchvision", "jupyterlab", "ipykernel", "jupytext", "numpy", "scikit-learn", "matplotlib", "papermill", "nbval")
MIN_PYTHON = (3, 11)
MIN_MEMORY_GIB, MIN_DISK_GIB = 3.0, 1.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``remedy`` is empty for what is good; a "problem" stops the course from working, a "note" does not."""

    what: str
    grade: Grade
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Return everything the doctor finds, in the order in which it is best mended. Never raises."""
    findings: list[Finding] = []
    for look in (python, packages, device, memory, threads, caches, disk, data, browser, git):
        try:
            findings += look()
        except Exception as error:
            findings.append(
                Finding(look.__name__, "problem", f"{type(error).__name__}: {error}", "This look failed; mend what is named above first.")
            )
    return findings


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Finding]:
    """Look at the version of Python."""
    found = f"{'.'.join(map(str, version))} at {sys.executable}"
    if version[:2] >= MIN_PYTHON:
        yield Finding("Python", "good", found)
    else:
        yield Finding("Python", "problem", found, "Install Python 3.11 or newer, remove .venv, and run make lab.")


def packages(lock: Path | None = None, installed: Callable[[str], str] = metadata.version) -> Iterator[Finding]:
    """Compare the installed packages with the lock file. Missing essentials are problems; other differences are worth knowing."""
    from labkit.files import project_root

    lock = lock or project_root() / "requirements.lock"
    if not lock.exists():
        yield Finding("Packages", "note", f"no lock file at {lock}", "Use a complete checkout to compare versions.")
        return
    wanted = read_lock(lock)
    missing, different = [], []
    for name, version in wanted.items():
        try:
            have = installed(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if have.partition("+")[0] != version:  # torch 2.9.0+cpu is torch 2.9.0
            different.append(f"{name} {have} (lock: {version})")
    command = f"{Path(sys.executable).name} -m pip install -r requirements.lock"
    lost = [name for name in missing if name in ESSENTIAL]
    if lost:
        yield Finding("Packages", "problem", f"missing: {', '.join(lost)}", f"Run make lab again, or {command}.")
    if rest := [name for name in missing if name not in ESSENTIAL]:
        yield Finding(
            "Packages", "note", f"{len(rest)} of {len(wanted)} not installed: {_some(rest)}", f"Chapters may miss them: {command}."
        )
    if different:
        yield Finding(
            "Packages", "note", f"other versions: {_some(different)}", f"Results may differ slightly; to have the tested ones: {command}."
        )
    if not missing and not different:
        yield Finding("Packages", "good", f"all {len(wanted)} as in the lock file")


def read_lock(lock: Path) -> dict[str, str]:
    """Return the versions that the lock file pins for this machine (environment markers decide), by normalized name."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    text = re.sub(r"\\\n", " ", lock.read_text(encoding="utf-8"))
    pinned = {}
    for line in text.splitlines():
        line = re.sub(r"\s--hash=\S+", "", line.partition("#")[0]).strip()
        if not line or line.startswith("-"):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            pinned[str(canonicalize_name(requirement.name))] = str(requirement.specifier).removeprefix("==")
    return pinned


def device() -> Iterator[Finding]:
    """Look at where PyTorch would run."""
    try:
        from labkit import device as devices

        yield Finding("Device", "good", devices.describe())
    except ValueError as error:
        yield Finding("Device", "problem", str(error), "Unset LABKIT_DEVICE, or set it to cpu.")
    except ImportError as error:
        yield Finding("Device", "problem", f"PyTorch cannot be loaded ({error})", "Install it: see Packages above.")


def memory() -> Iterator[Finding]:
    """Look at the memory: chapters are made to fit 2 GiB beside the system."""
    import psutil

    state = psutil.virtual_memory()
    text = f"{state.available / 2**30:.1f} of {state.total / 2**30:.1f} GiB free"
    if state.available / 2**30 < MIN_MEMORY_GIB:
        yield Finding(
            "Memory", "note", text, "Chapters use up to 2 GiB each: close other programs, and run one chapter at a time (--jobs 1)."
        )
    else:
        yield Finding("Memory", "good", text)


def threads() -> Iterator[Finding]:
    """Look at processor cores and threads."""
    import torch

    cores, used = os.cpu_count() or 1, torch.get_num_threads()
    if used > cores:
        remedy = "Unset OMP_NUM_THREADS, or set it to the number of cores: more threads than cores slow everything down."
        yield Finding("Threads", "note", f"{used} threads on {cores} cores", remedy)
    else:
        yield Finding("Threads", "good", f"{used} threads on {cores} cores")


def caches() -> Iterator[Finding]:
    """Look at the cache of embedded data and trained models, and at the learner's folder: both must be writable."""
    from labkit import files
    from labkit.course.progress import work_dir

    try:
        folder = files.cache_dir()
    except OSError as error:
        yield Finding("Cache", "problem", f"cannot be made ({error})", "Set LABKIT_CACHE to a folder that you may write.")
    else:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
        remedy = "Change its permissions, or set LABKIT_CACHE to a folder that you may write."
        yield _writable("Cache", folder, f"{folder}, {size:.0f} MiB", remedy)
    folder = work_dir()
    if folder.is_dir():
        yield _writable("Your notebooks", folder, str(folder), "Change its permissions, or set LABKIT_WORK to a folder that you may write.")
    else:
        yield Finding("Your notebooks", "good", f"{folder} will be made by labkit lab")


def disk() -> Iterator[Finding]:
    """Look at the free disk space where the cache is."""
    from labkit import files

    free = shutil.disk_usage(files.cache_dir()).free / 2**30
    if free < MIN_DISK_GIB:
        yield Finding(
            "Disk", "problem", f"{free:.1f} GiB free", f"Make room: the course needs about {MIN_DISK_GIB:.0f} GiB beside the packages."
        )
    else:
        yield Finding("Disk", "good", f"{free:.0f} GiB free")


def data() -> Iterator[Finding]:
    """Look for the papers' data sets. None are needed for profile quick."""
    from labkit import files

    folder = files.data_dir()
    there = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if there:
        yield Finding("Papers' data", "good", f"{_some(there, 12)} in {folder}")
    else:
        remedy = "Profile quick needs none. For profile paper: labkit data, or set LABKIT_DATA to a folder that has them."
        yield Finding("Papers' data", "note", f"none in {folder}", remedy)


def browser() -> Iterator[Finding]:
    """Look for Chromium, which only the browser test needs."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found:
        yield Finding("Chromium", "good", found)
    else:
        yield Finding(
            "Chromium", "note", "not found", "Only the browser test uses it, and is skipped. On Debian: apt-get install chromium."
        )


def git() -> Iterator[Finding]:
    """Look for git, which brings newer versions of the course."""
    found = shutil.which("git")
    if found:
        yield Finding("git", "good", found)
    else:
        yield Finding("git", "note", "not found", "Install it to fetch newer versions of the course and to record commits with results.")


def _writable(what: str, folder: Path, found: str, remedy: str) -> Finding:
    """Whether a file can really be written there: permissions alone do not tell on every file system."""
    probe = folder / f".labkit-doctor-{os.getpid()}"
    try:
        probe.write_text("x")
        probe.unlink()
    except OSError as error:
        return Finding(what, "problem", f"{found}: cannot be written ({error.strerror or error})", remedy)
    return Finding(what, "good", found)


def _some(names: list[str], most: int = 6) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
