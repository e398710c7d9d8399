"""The command line: overview, errors, exit statuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit.course import cli
from tests.course.toys import Toys

CHECKOUT = Path(__file__).resolve().parents[2]


def test_overview_lists_every_command_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from labkit.course.cli import main; main([]); "
        "heavy = {'torch', 'numpy', 'jupytext', 'papermill', 'rich', 'matplotlib', 'sklearn', 'IPython'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("run", "publish", "study", "scoreboard", "build", "book", "bench", "test"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", cli._available())
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    assert f"usage: labkit {name}" in capsys.readouterr().out


def test_unknown_commands_name_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rnu"]) == 2
    assert "unknown command 'rnu'; did you mean run?" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from labkit import __version__

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"labkit {__version__}\n"


def test_run_tells_by_its_exit_status(toys: Toys, capsys: pytest.CaptureFixture[str]) -> None:
    toys.add("10_good")
    toys.add("11_bad", "# %%\nraise ValueError('planted')")
    assert cli.main(["run", "10", "--name", "good"]) == 0
    told = capsys.readouterr()
    assert "1 of 1 chapters ran in profile quick" in told.out
    assert "10_good: started" in told.err
    assert "10_good: ok after" in told.err
    assert cli.main(["run", "11"]) == 1
    assert "cell 3 (line 22): ValueError: planted" in capsys.readouterr().out
    assert cli.main(["run", "13"]) == 2
    assert "labkit run: no chapter '13'; did you mean 10_good or 11_bad?" in capsys.readouterr().err
    assert cli.main(["run", "--profile", "paper", "--publish"]) == 2
    assert cli.main(["run", "--jobs", "-1"]) == 2
    assert cli.main(["run", "--resume", "nothing"]) == 2
    assert json.loads((toys.root / "runs/good/state.json").read_text())["ended"]


def test_publish_writes_the_pair(toys: Toys) -> None:
    toys.add("10_good")
    assert cli.main(["publish", "10"]) == 0
    assert (toys.root / "chapters/attacks/10_good.ipynb").exists()


def test_outside_a_checkout_the_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from labkit import files

    def nowhere() -> Path:
        raise files.ProjectNotFound("no checkout of the course found")

    monkeypatch.setattr(files, "project_root", nowhere)
    assert cli.main(["run"]) == 2
    assert capsys.readouterr().err == "labkit run: no checkout of the course found\n"


def test_a_terminal_sees_a_live_table(toys: Toys) -> None:
    """On a terminal the progress is drawn by rich: run in a pseudo-terminal and look at what it was sent."""
    pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")
    toys.add("10_good", "# %%\nimport time\ntime.sleep(1.5)\n")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "labkit.course", "run", "--jobs", "1"]
    process = subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, cwd=CHECKOUT, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    sent = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end was closed
            break
        if not piece:
            break
        sent += piece
    os.close(ours)
    assert process.wait() == 0
    text = sent.decode()
    assert "chapter" in text
    assert "3/3" in text
    assert "0/1 chapters ended" in text
    assert "10_good: ok after" in text


def test_running_times_are_noted_cold_and_warm(toys: Toys, capsys: pytest.CaptureFixture[str]) -> None:
    """A cold run finds the embedded data and no model; only a chapter that ran alone tells how long one takes."""
    (toys.root / "chapters").mkdir(exist_ok=True)
    cache = Path(os.environ["LABKIT_CACHE"])
    for kind in ("data", "models"):
        (cache / kind).mkdir(parents=True)
        (cache / kind / "thing").touch()
    listing = "print(sorted(path.name for path in Path(os.environ['LABKIT_CACHE']).rglob('*')))"
    toys.add("10_good", f"# %%\nimport os\nfrom pathlib import Path\n{listing}")
    times = toys.root / "data/reproduced/running_times.json"
    assert cli.main(["run", "--jobs", "1", "--cold", "--name", "cold"]) == 0
    assert set(json.loads(times.read_text())["10_good"]) == {"cold"}
    assert "['data', 'thing']" in (toys.root / "runs/cold/notebooks/attacks/10_good.ipynb").read_text()
    assert not (toys.root / "runs/cold/cold/10_good").exists()
    assert cli.main(["run", "--jobs", "1", "--name", "warm"]) == 0
    assert "running times noted (quick): 10_good" in capsys.readouterr().out
    noted = json.loads(times.read_text())["10_good"]
    assert set(noted) == {"cold", "quick"}
    assert noted["quick"]["seconds"] >= 1
    assert "['data', 'models', 'thing', 'thing']" in (toys.root / "runs/warm/notebooks/attacks/10_good.ipynb").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_stopping_tells_how_to_go_on(toys: Toys) -> None:
    toys.add("10_long", "# %%\nimport time\ntime.sleep(600)")
    command = [sys.executable, "-m", "labkit.course", "run", "--jobs", "1", "--name", "mine"]
    process = subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    events = toys.root / "runs/mine/events/10_long.jsonl"
    while process.poll() is None and not (events.exists() and '"cell": 3' in events.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "stopped; go on with: labkit run --resume mine" in told
    assert "Traceback" not in told


def test_a_full_disk_is_said_in_one_line(toys: Toys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import labkit.files

    def full(path: Path, content: str) -> None:
        raise OSError(28, f"the disk is full: could not write {path}")

    toys.add("10_good")
    monkeypatch.setattr(labkit.files, "write_text", full)
    assert cli.main(["run", "--jobs", "1"]) == 2
    assert "the disk is full: could not write" in capsys.readouterr().err
