"""What a run came to, in lines that fit a terminal and a log."""

from __future__ import annotations

from labkit.course.runs import Run
from labkit.course.watching import explain


def summary(run: Run) -> tuple[str, int]:
    """Return the text that ends ``labkit run``, and how many chapters failed or did not end."""
    records = run.records()
    rows = []
    failed = 0
    for name in run.chapters:
        record = records.get(name)
        if record is None:
            failed += 1
            rows.append(f"  {name:<32} did not run")
            continue
        cost = f"{_number(record.get('seconds')):>7} s {_number(record.get('peak_mib'), 0):>7} MiB"
        taken = f"  (from run {record['from_run']})" if record.get("from_run") else ""
        rows.append(f"  {name:<32} {record['status']:<6} {cost} {len(record['results']):>4} results{taken}")
        if record["status"] != "ok":
            failed += 1
            rows.append(f"      {explain(record['error'])}")
            if record.get("notebook"):
                rows.append(f"      as far as it came: {run.folder / record['notebook']}")
    ran = len(run.chapters) - failed
    end = f"{ran} of {len(run.chapters)} chapters ran in profile {run.profile}; results in {run.folder / 'results.jsonl'}"
    if failed:
        end += f"\nrun the rest again with: labkit run --resume {run.id}"
    return "\n".join([*rows, end]) + "\n", failed


def note_times(run: Run, *, cold: bool = False) -> list[str]:
    """Keep how long each chapter took, for `running_times` to say, and return a line about it.

    Only runs of one chapter at a time tell a reader what to expect; profile smoke has no running time.
    """
    from joblib import cpu_count

    from labkit.reporting import note_time

    cores = int(cpu_count())
    kind = "cold" if cold else run.profile
    if run.profile == "smoke" or (cold and run.profile != "quick"):
        return []
    noted = []
    for name, record in run.records().items():
        alone = record["threads"] == cores and not record.get("from_run")
        if record["status"] == "ok" and record["engine"] == "papermill" and alone and record["peak_mib"]:
            machine = f"{cores} cores" if record["device"] in ("cpu", None) else f"{cores} cores and {record['device']}"
            note_time(name, kind, record["seconds"], record["peak_mib"], machine)
            noted.append(name)
    return [f"running times noted ({kind}): {', '.join(noted)}"] if noted else []


def store_measured(run: Run) -> list[str]:
    """Merge what profile paper measured into ``data/reproduced``, and return a line for each figure."""
    from labkit.reporting import store_reproduced

    if run.profile != "paper":
        return []
    return [f"stored in data/reproduced: {figure}" for figure in store_reproduced(run.folder / "results.jsonl")]


def _number(value: float | None, digits: int = 1) -> str:
    return "?" if value is None else f"{value:.{digits}f}"
