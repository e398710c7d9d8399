"""How the course's own tests are run by pytest: with which options, over what, and in which environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path


def arguments(checkout: Path, chapters: Path | None, *, tests: list[str] | None = None, jobs: int = 0) -> list[str]:
    """Return the command that runs ``tests`` (default: all of ``checkout/tests``) and nbval over ``chapters``, if given.

    ``jobs``: how many at once; 0: one per core. Without tests their conftest is named, since pytest finds it only beside what it
    collects: without it kernels draw bars, and among thousands of a bar's messages the end of a cell is lost.
    """
    from joblib import cpu_count

    chosen = tests if tests is not None else [str(checkout / "tests")]
    return [
        sys.executable, "-m", "pytest", "-q", f"--rootdir={checkout}", "-p", "no:cacheprovider",
        "-n", str(jobs or max(1, int(cpu_count()))), "--dist", "loadgroup",
        "--nbval-lax", "--nbval-current-env", f"--nbval-sanitize-with={checkout / 'tests' / 'nbval.cfg'}",
        *(chosen or ["-p", "tests.conftest"]), *([str(chapters)] if chapters else []),
    ]  # fmt: skip


def environment(jobs: int = 0) -> dict[str, str]:
    """Return the environment of the tests: no network, and the processor's threads shared by what runs at once."""
    from joblib import cpu_count

    from labkit.course import network
    from labkit.course.steady import STEADY

    result = network.environment()
    cores = max(1, int(cpu_count()))
    threads = str(max(1, cores // (jobs or cores)))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        result.setdefault(name, threads)
    for name, value in STEADY.items():
        result.setdefault(name, value)
    result.pop("MPLBACKEND", None)  # kernels choose theirs
    checkout = str(Path(__file__).resolve().parents[2])
    result["PYTHONPATH"] = os.pathsep.join([*result["PYTHONPATH"].split(os.pathsep), checkout])
    return result


def check_notebooks(
    checkout: Path, notebooks: Sequence[Path], *, jobs: int = 0, env: Mapping[str, str] | None = None, say: Callable[[str], object] = print
) -> int:
    """Execute each published notebook with nbval in a process of its own, ``jobs`` at once (0: one per core); return how many failed.

    One line tells of each as it ends, pytest's whole output of those that fail. A process of its own, because cells that
    workers share out may part from their kernel. ``env``: of the processes; default: :func:`environment`.
    """
    from joblib import cpu_count

    jobs = jobs or max(1, int(cpu_count()))
    settings = dict(env if env is not None else environment(jobs))

    def one(notebook: Path) -> tuple[Path, subprocess.CompletedProcess[str], float]:
        begin = time.perf_counter()
        command = [*arguments(checkout, notebook, tests=[], jobs=1), "-n", "0"]
        done = subprocess.run(command, cwd=checkout, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return notebook, done, time.perf_counter() - begin

    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(one, notebook) for notebook in notebooks]):
            notebook, done, seconds = future.result()
            if done.returncode:
                failed.append(notebook.stem)
                say(done.stdout)
            told = re.sub(r" in [0-9.]+s.*$", "", (done.stdout.strip().split("\n") or [""])[-1])
            say(f"{notebook.stem:<32} {told}, {seconds:.0f} s")
    say(
        f"{len(notebooks) - len(failed)} of {len(notebooks)} published notebooks executed without a fault"
        + "".join(f"\nFAILED {n}" for n in failed)
    )
    return len(failed)
