"""The lab: a real JupyterLab on the loopback address, with its own settings, that starts, answers, and stops."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.course import cli, lab
from labkit.course.commands.lab import prepare
from tests.course.toys import Toys

WHO = '# %%\nimport os, sys\nprint(sys.executable, os.environ["LABKIT_WORK"])'


@pytest.fixture
def work(toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A learner's copy of a toy course, and a home folder whose Jupyter settings would do harm."""
    monkeypatch.delenv("LABKIT_WORK", raising=False)
    home = tmp_path / "home"
    (home / ".jupyter").mkdir(parents=True)
    (home / ".jupyter/jupyter_server_config.json").write_text('{"ServerApp": {"port": 1, "ip": "0.0.0.0", "root_dir": "/"}}')
    kernel = home / ".local/share/jupyter/kernels/python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["/no/such/python"], "display_name": "broken", "language": "python"}')
    monkeypatch.setenv("HOME", str(home))
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    toys.add("00_start_here", WHO, part="foundations")
    toys.add("10_evasion")
    folder = toys.root / "work"
    prepare(folder)
    return folder


@pytest.fixture
def server(work: Path) -> Iterator[lab.Server]:
    server = lab.start(work, "/lab/tree/start.ipynb")
    yield server
    server.stop()


def home_files() -> dict[str, bytes]:
    home = Path(os.environ["HOME"])
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_it_answers_on_the_loopback_address_with_its_token(server: lab.Server, work: Path) -> None:
    lab.verify(server, "foundations/00_start_here.ipynb")
    page = server.ask("/lab/tree/start.ipynb").decode()
    settings = json.loads(re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    disabled = settings["disabledExtensions"]
    assert "@jupyterlab/apputils-extension:announcements" in disabled
    stranger = lab.Server(None, server.url, "not-the-token", server.page, server.log)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        stranger.ask("/api/contents")
    address = server.url.rpartition(":")
    assert address[0] == "http://127.0.0.1"
    other = socket.socket()
    outside = _outside_address()
    if outside:
        other.bind((outside, int(address[2])))  # free there: the server listens on the loopback address only
    other.close()


def _outside_address() -> str:
    """Return an address of this machine that is not loopback, or an empty string."""
    import psutil

    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family == socket.AF_INET and not one.address.startswith("127."):
                return str(one.address)
    return ""


def test_the_users_settings_are_neither_used_nor_touched(work: Path) -> None:
    before = home_files()
    server = lab.start(work, "/lab/tree/start.ipynb")
    try:
        specs = json.loads(server.ask("/api/kernelspecs"))["kernelspecs"]
        assert specs["python3"]["spec"]["argv"][0] == sys.executable
        assert specs["python3"]["spec"]["display_name"] == "Python 3"
    finally:
        server.stop()
    assert home_files() == before


def test_kernels_run_this_python_and_know_the_learners_folder(server: lab.Server, work: Path) -> None:
    request = urllib.request.Request(f"{server.url}/api/kernels", method="POST", data=b'{"name": "python3"}')
    request.add_header("Authorization", f"token {server.token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        kernel = json.loads(answer.read())["id"]
    text = _execute(work / f".jupyter/runtime/kernel-{kernel}.json", "import os, sys; print(sys.executable, os.environ['LABKIT_WORK'])")
    assert text.split() == [sys.executable, str(work)]


def _execute(connection: Path, code: str) -> str:
    """Run ``code`` in the kernel with this connection file and return what it prints."""
    from jupyter_client.blocking.client import BlockingKernelClient

    client = BlockingKernelClient(connection_file=str(connection))
    client.load_connection_file()
    client.start_channels()
    printed: list[str] = []

    def gather(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    try:
        client.wait_for_ready(timeout=240)
        client.execute_interactive(code, timeout=240, output_hook=gather)
    finally:
        client.stop_channels()
    return "".join(printed)


def test_a_taken_port_is_avoided(work: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = lab.start(work, "/lab/tree/start.ipynb", port=port)
        try:
            assert server.url != f"http://127.0.0.1:{port}"
            lab.verify(server, "foundations/00_start_here.ipynb")
        finally:
            server.stop()


def test_who_loses_the_race_for_a_port_begins_again(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true, asked = lab.command, []

    def loses_once(folder: Path, page: str, port: int) -> list[str]:
        asked.append(port)
        loser = [sys.executable, "-c", "import sys; sys.exit('ERROR: no available port could be found.')"]
        return loser if len(asked) == 1 else true(folder, page, port)

    monkeypatch.setattr(lab, "command", loses_once)
    server = lab.start(work, "/lab/tree/start.ipynb", port=9100)
    server.stop()
    assert asked == [9100, 9151]
    asked.clear()
    with pytest.raises(lab.LabFailed, match="no available port"):
        lab.start(work, "/lab", tries=1)


def test_check_succeeds_and_leaves_nothing_running(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lab", "--check", "--no-build"]) == 0
    assert "foundations/00_start_here.ipynb opens" in capsys.readouterr().out
    assert lab.running(work, "/lab") is None
    assert list((work / ".jupyter/runtime").glob("jpserver-*.json")) == []


def test_check_fails_with_the_log_when_the_server_cannot_start(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab, "command", lambda *args: [sys.executable, "-c", "raise SystemExit('no lab today')"])
    assert cli.main(["lab", "--check", "--no-build"]) != 0
    text = capsys.readouterr().err
    assert "ended with status 1" in text
    assert "no lab today" in text


def test_check_fails_when_the_first_notebook_cannot_be_read(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "foundations/00_start_here.ipynb").write_text("{")
    assert cli.main(["lab", "--check", "--no-build"]) != 0
    assert "cannot be opened" in capsys.readouterr().err


def test_a_silent_server_is_given_up(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "command", lambda *args: [sys.executable, "-c", "import time; time.sleep(600)"])
    with pytest.raises(lab.LabFailed, match="did not answer"):
        lab.start(work, "/lab", patience=0.5)


def test_on_a_machine_without_a_screen_it_prints_the_address_and_serves(work: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "labkit.course.cli", "lab", "--no-build"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        link = _link(process)
        with urllib.request.urlopen(link, timeout=30) as answer:
            assert answer.status == 200
        again = subprocess.run(
            [sys.executable, "-m", "labkit.course.cli", "lab", "--no-build"], capture_output=True, text=True, timeout=120, check=False
        )
        assert again.returncode == 0
        assert "open already" in again.stdout
        assert link in again.stdout
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=240) == 0
    assert lab.running(work, "/lab") is None


def _link(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+/lab/tree/start\.ipynb\?token=\w+", line):
            return found[0]
    raise AssertionError("".join(seen))


def test_closing_the_terminal_stops_the_server(work: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "labkit.course.cli", "lab", "--no-build"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    _link(process)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=240)
    assert lab.running(work, "/lab") is None


def test_an_author_gets_pairs(work: Path, toys: Toys, capsys: pytest.CaptureFixture[str]) -> None:
    (toys.root / "jupytext.toml").write_text('formats = "ipynb,py:percent"\n')
    server = lab.start(toys.root, "/lab/tree/chapters", author=True)
    try:
        lab.verify(server, "chapters/attacks/10_evasion.py")
        content = json.loads(server.ask("/api/contents/chapters/attacks/10_evasion.py"))
        content["content"]["cells"][0]["source"] = "# Changed by the author"
        request = urllib.request.Request(f"{server.url}/api/contents/chapters/attacks/10_evasion.py", method="PUT")
        request.add_header("Authorization", f"token {server.token}")
        request.data = json.dumps({"type": "notebook", "format": "json", "content": content["content"]}).encode()
        urllib.request.urlopen(request, timeout=30).close()
        assert "# # Changed by the author" in (toys.root / "chapters/attacks/10_evasion.py").read_text()
        assert "# Changed by the author" in (toys.root / "chapters/attacks/10_evasion.ipynb").read_text()
    finally:
        server.stop()


def test_a_learners_notebook_gets_no_source_beside_it(server: lab.Server, work: Path, toys: Toys) -> None:
    (toys.root / "jupytext.toml").write_text('formats = "ipynb,py:percent"\n')
    path = "/api/contents/attacks/10_evasion.ipynb"
    content = json.loads(server.ask(path))["content"]
    request = urllib.request.Request(server.url + path, method="PUT", headers={"Authorization": f"token {server.token}"})
    request.data = json.dumps({"type": "notebook", "format": "json", "content": content}).encode()
    urllib.request.urlopen(request, timeout=30).close()
    assert not (work / "attacks/10_evasion.py").exists()


def test_the_command_outweighs_configuration_and_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    words = lab.command(tmp_path, "/lab", 8888)
    assert words[0] == sys.executable
    assert "--ServerApp.ip=127.0.0.1" in words
    assert "--allow-root" in words
    assert "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate" in words
    assert not any("token" in word for word in words)  # other users can read command lines
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert "--allow-root" not in lab.command(tmp_path, "/lab", 8888)


def test_no_browser_is_tried_without_a_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(lab.webbrowser, "open", lambda url: pytest.fail("a browser was opened"))
    assert not lab.open_browser(lab.Server(None, "http://127.0.0.1:1", "t", "/lab", tmp_path))
    monkeypatch.setenv("DISPLAY", ":0")
    opened = []
    monkeypatch.setattr(lab.webbrowser, "open", lambda url: not opened.append(url))
    assert lab.open_browser(lab.Server(None, "http://127.0.0.1:1", "t", "/lab", tmp_path))
    assert opened == ["http://127.0.0.1:1/lab?token=t"]


def test_the_build_comes_first_and_its_failure_ends_it(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from labkit.course.commands import lab as command

    monkeypatch.setattr(command, "_build", lambda: 3)
    monkeypatch.setattr(lab, "start", lambda *args, **options: pytest.fail("the server was started"))
    assert cli.main(["lab", "--check"]) == 3
