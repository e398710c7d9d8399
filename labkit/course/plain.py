"""Run chapters as plain Python: no Jupyter, no Jupytext, nothing but what the chapter itself imports.

On a bare GPU machine or a cluster node::

    python -m labkit.course.plain chapters/attacks/10_evasion_gradient.py --profile paper --out results

Each chapter runs cell by cell in a process of its own. The folder ``--out`` then holds ``results.jsonl`` (the same lines
as ``labkit run`` gathers), and per chapter its figures as PNG and its log. The exit status is 1 when a chapter failed.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import subprocess
import sys
import time
import traceback
import types
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labkit.course import percent, results

_CHECKOUT = Path(__file__).resolve().parents[2]
PROFILES = ("quick", "paper", "smoke")


def run_one(
    path: Path, *, profile: str, seed: int, out: Path, root: Path | None = None, threads: int | None = None,
    events: Path | None = None, timeout: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run one chapter in a process of its own, and return its record: status, error, cells, results, device, peak memory.

    ``out``: the folder for its log and figures. ``threads``: None leaves the libraries' own choice.
    """
    out.mkdir(parents=True, exist_ok=True)
    raw, summary = out / "raw.jsonl", out / "summary.json"
    for old in (raw, summary, *out.glob("*.png")):
        old.unlink(missing_ok=True)
    command = [sys.executable, "-m", "labkit.course.plain", "--inside", str(out.resolve()), str(path.resolve())]
    command += ["--profile", profile, "--seed", str(seed)] + (["--events", str(events.resolve())] if events else [])
    with open(out / "log.txt", "wb") as log:
        done = subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, env=_environment(out, root, threads), cwd=path.parent,
            timeout=timeout, check=False,
        )  # fmt: skip
    context, found = results.from_lines(raw)
    if summary.exists():
        record: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    else:
        last = max((line["cell"] for line in results.read_lines(raw) if line.get("type") == "cell"), default=None)
        message = f"the process ended with status {done.returncode} (killed, or out of memory?); see {out / 'log.txt'}"
        record = {"status": "failed", "cells": [], "peak_mib": None, "error": _error("ProcessDied", message, "", last)}
    return record | {"results": found, "device": (context or {}).get("device"), "notebook": None}


def _environment(out: Path, root: Path | None, threads: int | None) -> dict[str, str]:
    environment = dict(os.environ) | {
        "LABKIT_PLAIN": "1", "LABKIT_RESULTS": str((out / "raw.jsonl").resolve()), "LABKIT_PROGRESS": "line",
        "LABKIT_ROOT": str(root or _CHECKOUT), "MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    if threads is not None:
        environment |= {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*filter(None, paths), str(_CHECKOUT)]))
    return environment


def _inside(path: Path, profile: str, seed: int, out: Path, events: Path | None) -> int:
    """Execute the cells of one chapter in this process, and write what happened to ``out/summary.json``."""
    record: dict[str, Any] = {"status": "ok", "error": None, "cells": []}
    cell_number = 0
    try:
        cells = percent.read(path).cells
        # The chapter is __main__, as in a notebook, so that pickling and dataclasses find what it defines.
        module = types.ModuleType("__main__")
        module.__dict__["__file__"] = str(path)
        sys.modules["__main__"] = module
        warnings.filterwarnings("ignore", message=".*non-interactive.*")  # plt.show() with nobody watching
        for cell_number, cell in enumerate(cells, 1):
            if cell.kind != "code":
                continue
            event: dict[str, Any] = {"type": "cell", "chapter": path.stem, "cell": cell_number, "cells": len(cells), "time": time.time()}
            for file in (os.environ.get("LABKIT_RESULTS"), events):
                if file:
                    results.append_line(file, event)
            start = time.perf_counter()
            _run_cell(cell, path, module.__dict__)
            if "parameters" in cell.tags:
                module.__dict__.update(PROFILE=profile, SEED=seed)
            _save_figures(out, path.stem, cell_number)
            record["cells"].append({"cell": cell_number, "seconds": round(time.perf_counter() - start, 3)})
    except BaseException as error:  # SystemExit in a chapter is a failure as well
        text = traceback.format_exc()
        sys.stderr.write(text)
        place = [cell for cell in cells if cell.kind == "code"] if cell_number else []
        source = cells[cell_number - 1] if place else None
        record |= {"status": "failed", "error": _error(type(error).__name__, str(error), text, cell_number or None, source)}
    record["peak_mib"] = _peak_mib()
    temporary = out / "summary.json.part"
    temporary.write_text(json.dumps(record), encoding="utf-8")
    os.replace(temporary, out / "summary.json")
    return 0 if record["status"] == "ok" else 1


def _run_cell(cell: percent.Cell, path: Path, names: dict[str, Any]) -> None:
    """Execute one cell; like a notebook, show the value of a last line that is an expression."""
    tree = ast.parse(cell.source, filename=str(path))
    ast.increment_lineno(tree, cell.line)  # tracebacks then name the line of the source file
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(path), "exec"), names)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), str(path), "eval"), names)
        if value is not None and not cell.source.rstrip().endswith(";"):
            sys.stdout.write(f"{value!r}\n")


def _save_figures(out: Path, name: str, cell: int) -> None:
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return
    for count, number in enumerate(pyplot.get_fignums(), 1):
        pyplot.figure(number).savefig(out / f"{name}-cell{cell:02d}-{count}.png", bbox_inches="tight")
    pyplot.close("all")


def _peak_mib() -> float | None:
    """Return the highest memory of this process in MiB: resident, or on the GPU where one was used."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return float(round(torch.cuda.max_memory_allocated() / 2**20))
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return float(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20))


def _error(kind: str, message: str, text: str, cell: int | None, source: percent.Cell | None = None) -> dict[str, Any]:
    place = {"line": source.line, "source": source.source} if source else {"line": None, "source": ""}
    return {"cell": cell, "type": kind, "message": message, "traceback": text, **place}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chapters named on the command line, one after the other; return 1 when one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m labkit.course.plain", description=str(__doc__).partition("\n")[0])
    parser.add_argument("chapters", nargs="+", type=Path, help="sources, as chapters/attacks/10_evasion_gradient.py")
    parser.add_argument("--profile", choices=PROFILES, default="quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("plain-results"), help="folder for results.jsonl, figures and logs")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--events", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        return _inside(options.chapters[0], options.profile, options.seed, options.inside, options.events)
    missing = [str(path) for path in options.chapters if not path.is_file()]
    if missing:
        parser.error(f"no such file: {', '.join(missing)}")
    records = []
    for path in options.chapters:
        sys.stdout.write(f"{path.stem}: running in profile {options.profile}\n")
        sys.stdout.flush()
        records.append(_run_and_describe(path, options))
        _write_results(options.out, records)
    return 1 if any(record["status"] != "ok" for record in records) else 0


def _run_and_describe(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    start = time.perf_counter()
    folder = path.resolve().parent.parent.parent  # chapters/<part>/<file>: the checkout above it
    root = folder if (folder / "chapters").is_dir() else _CHECKOUT
    record = run_one(path, profile=options.profile, seed=options.seed, out=options.out / path.stem, root=root) | {
        "chapter": path.stem, "part": path.parent.name, "profile": options.profile, "seed": options.seed, "engine": "plain",
        "seconds": round(time.perf_counter() - start, 3), "versions": results.versions(), "commit": results.commit(root),
        "source_sha256": hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest(), "code_sha256": results.code_sha256(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    error = record["error"]
    said = f"failed in cell {error['cell']} (line {error['line']}): {error['type']}: {error['message']}" if error else "ok"
    sys.stdout.write(f"{path.stem}: {said}, {record['seconds']:.1f} s, {len(record['results'])} results\n")
    return record


def _write_results(out: Path, records: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(line, sort_keys=True) + "\n" for line in results.results_lines("plain", records))
    temporary = out / "results.jsonl.part"
    temporary.write_text(lines, encoding="utf-8")
    os.replace(temporary, out / "results.jsonl")


if __name__ == "__main__":
    sys.exit(main())
