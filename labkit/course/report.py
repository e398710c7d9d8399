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


def _number(value: float | None, digits: int = 1) -> str:
    return "?" if value is None else f"{value:.{digits}f}"
