"""The runner: results, failures, parallel work, resuming after a kill, skipping, Dask."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labkit.course import runner, runs
from labkit.course.chapters import all_chapters
from labkit.course.errors import CourseError
from labkit.course.runner import Options, run_chapters
from tests.course.toys import EMIT, Toys

CHECKOUT = Path(__file__).resolve().parents[2]
QUIET = Options(jobs=1, quiet=True)
TWO = Options(jobs=2, quiet=True)
COUNT = "# %%\nwith open('../../{name}.count', 'a') as file:\n    file.write('x')\n"


def count(toys: Toys, name: str) -> int:
    path = toys.root / f"{name}.count"
    return len(path.read_text()) if path.exists() else 0


def lines(run: runs.Run) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run.folder / "results.jsonl").read_text().splitlines()]


def test_results_are_gathered_with_their_provenance(toys: Toys) -> None:
    toys.add("10_toy", EMIT, begin=True)
    run = run_chapters(all_chapters(), toys.root, seed=3, options=QUIET, name="first")
    chapter, result = lines(run)
    assert (chapter["type"], chapter["status"], result["type"], result["cell"]) == ("chapter", "ok", "result", 4)
    assert result["payload"] == {"type": "result", "name": "answer", "value": 45, "n": 7, "profile": "quick"}
    provenance = result["provenance"]
    assert isinstance(provenance, dict)
    assert (provenance["run"], provenance["profile"], provenance["seed"], provenance["device"]) == ("first", "quick", 3, "cpu")
    assert {"python", "torch", "numpy", "labkit"} <= set(provenance["versions"])
    assert provenance["seconds"] > 0
    assert 100 < provenance["peak_mib"] < 10_000, "the kernel imported torch"
    record = run.records()["10_toy"]
    assert [cell["cell"] for cell in record["cells"]] == [2, 3, 4]
    state = json.loads((run.folder / "state.json").read_text())
    assert state["ended"] is True
    assert state["chapters"]["10_toy"]["status"] == "ok"


def test_a_failing_chapter_hides_no_other(toys: Toys) -> None:
    toys.add("10_good")
    bad = toys.add("11_bad", "# %%\nprint('so far')\n\n# %%\nx = 1\nraise ValueError('planted\\nsecond line')\n\n# %%\nprint('never')")
    toys.add("12_syntax", "# %%\nx = = 1")
    toys.add("13_malformed").write_text("x = 1")
    toys.add("14_dies", "# %%\nimport os\nos.kill(os.getpid(), 9)")
    toys.add("15_good")
    run = run_chapters(all_chapters(), toys.root, options=TWO)
    records = run.records()
    assert {name: record["status"] for name, record in records.items()} == {
        "10_good": "ok", "11_bad": "failed", "12_syntax": "failed", "13_malformed": "failed", "14_dies": "failed", "15_good": "ok",
    }  # fmt: skip
    error = records["11_bad"]["error"]
    assert (error["cell"], error["type"], error["message"]) == (4, "ValueError", "planted\nsecond line")
    assert bad.read_text().split("\n")[error["line"]] == "x = 1"
    assert error["source"].startswith("x = 1")
    partial = (run.folder / records["11_bad"]["notebook"]).read_text()
    assert "so far" in partial
    assert "planted" in partial
    assert '"never\\n"' not in partial
    assert records["12_syntax"]["error"]["type"] == "SyntaxError"
    assert records["13_malformed"]["error"]["type"] == "PercentError"
    assert "kernel died" in records["14_dies"]["error"]["message"]
    assert not list(run.folder.rglob("*.partial.*"))


def test_the_kernel_is_this_python_with_the_parameters(toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed kernel named python3 that is something else, an empty home, and a foreign MPLBACKEND change nothing."""
    wrong = tmp_path / "home" / ".local/share/jupyter/kernels/python3"
    wrong.mkdir(parents=True)
    (wrong / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MPLBACKEND", "svg")
    names = ("LABKIT_PROGRESS", "OMP_NUM_THREADS", "LABKIT_ROOT", "MPLBACKEND")
    toys.add("10_toy", f"# %%\nimport os, sys\nprint(PROFILE, SEED, sys.executable, *[os.environ.get(n) for n in {names}], os.getcwd())")
    run = run_chapters(all_chapters(), toys.root, profile="paper", seed=5, options=QUIET)
    record = run.records()["10_toy"]
    assert record["status"] == "ok", record["error"]
    text = (run.folder / record["notebook"]).read_text()
    threads = record["threads"]
    inline = "module://matplotlib_inline.backend_inline"
    assert f"paper 5 {sys.executable} line {threads} {toys.root} {inline} {toys.root}/chapters/attacks" in text
    assert not (tmp_path / "home" / ".ipython").exists()


def test_threads_are_shared(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_cores", lambda: 8)
    toys.add("10_toy")
    run = run_chapters(all_chapters(), toys.root, options=Options(jobs=2, quiet=True))
    assert run.records()["10_toy"]["threads"] == 4


def test_a_cell_may_take_only_so_long(toys: Toys) -> None:
    toys.add("10_toy", "# %%\nimport time\ntime.sleep(60)")
    run = run_chapters(all_chapters(), toys.root, options=Options(jobs=1, quiet=True, cell_timeout=1))
    error = run.records()["10_toy"]["error"]
    assert (error["type"], error["cell"]) == ("CellTimeoutError", 3)


def test_resume_runs_what_failed_and_keeps_the_rest(toys: Toys) -> None:
    toys.add("10_good", COUNT.format(name="good") + EMIT)
    bad = toys.add("11_bad", COUNT.format(name="bad") + "# %%\nraise ValueError")
    run = run_chapters(all_chapters(), toys.root, options=QUIET, name="r")
    bad.write_text(bad.read_text().replace("raise ValueError", "pass"))
    again = runner.resume(toys.root, "last", QUIET)
    assert again.folder == run.folder
    assert {record["status"] for record in again.records().values()} == {"ok"}
    assert (count(toys, "good"), count(toys, "bad")) == (1, 2)
    assert sum(line["type"] == "result" for line in lines(again)) == 1


def test_changed_takes_over_what_is_the_same(toys: Toys) -> None:
    toys.add("10_same", COUNT.format(name="same") + EMIT)
    other = toys.add("11_other", COUNT.format(name="other"))
    first = run_chapters(all_chapters(), toys.root, options=QUIET, name="first")
    other.write_text(other.read_text() + "\n# %%\nx = 1\n")
    changed = Options(jobs=1, quiet=True, changed=True)
    second = run_chapters(all_chapters(), toys.root, options=changed, name="second")
    assert (count(toys, "same"), count(toys, "other")) == (1, 2)
    assert second.records()["10_same"]["from_run"] == "first"
    assert (second.folder / second.records()["10_same"]["notebook"]).read_bytes() == (
        first.folder / first.records()["10_same"]["notebook"]
    ).read_bytes()
    run_chapters(all_chapters(), toys.root, seed=1, options=changed)
    assert count(toys, "same") == 2, "another seed is another measurement"


def test_bad_requests_are_refused(toys: Toys) -> None:
    toys.add("10_toy")
    chapters = all_chapters()
    for options, words in (
        ({"profile": "fast"}, "unknown profile 'fast'"), ({"engine": "nbclient"}, "unknown engine"), ({"name": "a/b"}, "name of a run"),
        ({"options": Options(backend="ray", quiet=True)}, "unknown backend"),
        ({"options": Options(backend="dask", quiet=True)}, "needs --scheduler"),
    ):  # fmt: skip
        with pytest.raises(CourseError, match=words):
            run_chapters(chapters, toys.root, **options)  # type: ignore[arg-type]
    with pytest.raises(CourseError, match="no chapter to run"):
        run_chapters([], toys.root)
    with pytest.raises(CourseError, match="no run 'x'"):
        runner.resume(toys.root, "x")
    run_chapters(chapters, toys.root, options=QUIET, name="mine")
    with pytest.raises(CourseError, match="is there already; continue it with --resume mine"):
        run_chapters(chapters, toys.root, options=QUIET, name="mine")
    with pytest.raises(CourseError, match="did you mean mine"):
        runner.resume(toys.root, "mime")
    chapters[0].path.unlink()
    with pytest.raises(CourseError, match="checkout has not: 10_toy"):
        runner.resume(toys.root, "mine")


# --- killed ------------------------------------------------------------------------------------------------------


def wait_for(condition: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_and_resumed(toys: Toys, jobs: int) -> None:
    toys.add("10_fast", COUNT.format(name="fast") + EMIT)
    toys.add(
        "11_slow", COUNT.format(name="slow") + "import os, time\nopen('../../pid', 'w').write(str(os.getpid()))\n"
        "time.sleep(0 if os.path.exists('../../quickly') else 600)\n" + EMIT,
    )  # fmt: skip
    toys.add("12_late", COUNT.format(name="late"))
    command = [sys.executable, "-m", "labkit.course", "run", "--name", "killed", "--jobs", str(jobs)]
    runner_process = subprocess.Popen(command, start_new_session=True, cwd=CHECKOUT, stderr=subprocess.PIPE)
    pid = toys.root / "pid"
    try:
        wait_for(lambda: (toys.root / "runs/killed/chapters/10_fast.json").exists() and pid.exists() and pid.read_text())
        with pytest.raises(CourseError, match="still going on"):
            runner.resume(toys.root, "killed", QUIET)
    finally:
        os.killpg(runner_process.pid, signal.SIGKILL)
        runner_process.communicate()
    kernel = int(pid.read_text())
    wait_for(lambda: not psutil.pid_exists(kernel) or psutil.Process(kernel).status() == psutil.STATUS_ZOMBIE)
    state = json.loads((toys.root / "runs/killed/state.json").read_text())  # whole, whenever the kill came
    assert list(state["chapters"]) == ["10_fast", "11_slow", "12_late"]
    (toys.root / "quickly").touch()
    again = [*command[:4], "--resume", "killed", "--jobs", str(jobs)]
    done = subprocess.run(again, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 chapters" in done.stdout
    assert (count(toys, "fast"), count(toys, "slow")) == (1, 2), "what had ended was not run again"
    assert count(toys, "late") == 1 or jobs == 2  # with two jobs it may have ended, or been killed, the first time
    assert len([line for line in lines(runs.load(toys.root, "killed")) if line["type"] == "result"]) == 2


def test_a_worker_that_dies_hides_no_other_chapter(toys: Toys) -> None:
    """The chapter kills the worker that runs its kernel: joblib's pool breaks, and the runner goes on with the rest."""
    toys.add("10_murder", "# %%\nimport os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(600)")
    for number in (11, 12, 13):
        toys.add(f"{number}_good")
    run = run_chapters(all_chapters(), toys.root, options=TWO)
    records = run.records()
    assert set(records) == set(run.chapters)
    assert "worker process died" in records["10_murder"]["error"]["message"]
    good = [name for name, record in records.items() if record["status"] == "ok"]
    assert "13_good" in good
    assert len(good) >= 2, "at most its neighbor at that moment is lost with it"


# --- on a cluster ------------------------------------------------------------------------------------------------


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """A real Dask scheduler and two real workers, each a process of its own."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    common = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny",
              "--no-dashboard", "--local-directory", str(tmp_path)]  # fmt: skip
    with open(tmp_path / "dask.log", "wb") as log:
        processes = [subprocess.Popen(command, stdout=log, stderr=log, cwd=CHECKOUT) for command in (common, worker, worker)]
        with distributed.Client(address, timeout=120) as client:
            client.wait_for_workers(2, timeout=120)
        yield address
        for process in processes:
            process.kill()
            process.wait()


def test_dask_with_two_workers(toys: Toys, scheduler: str) -> None:
    body = "# %%\nimport os, time\nprint('worker', os.getppid())\ntime.sleep(2)\n" + EMIT
    for number in (10, 11, 12):
        toys.add(f"{number}_toy", body)
    toys.add("13_bad", "# %%\nraise ValueError('planted')")
    run = run_chapters(all_chapters(), toys.root, options=Options(backend="dask", scheduler=scheduler, quiet=True))
    records = run.records()
    assert [record["status"] for record in records.values()] == ["ok", "ok", "ok", "failed"]
    shown = "".join((run.folder / record["notebook"]).read_text() for record in records.values()).split('"')
    workers = {line for line in shown if line.startswith("worker ")}
    assert len(workers) == 2, "both workers had their share"
    assert f"worker {os.getpid()}\\n" not in workers
    assert sum(line["type"] == "result" for line in lines(run)) == 3


def test_a_scheduler_that_is_not_there(toys: Toys) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    toys.add("10_toy")
    with pytest.raises(CourseError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:1"):
        run_chapters(all_chapters(), toys.root, options=Options(backend="dask", scheduler="tcp://127.0.0.1:1", quiet=True))
