"""The network is refused: here, in subprocesses, in kernels, in joblib's workers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labkit.course import network
from labkit.course.chapters import all_chapters
from labkit.course.runner import Options, run_chapters
from tests.course.toys import Toys

# Addresses of documentation (RFC 5737, RFC 3849) and names that cannot exist (RFC 2606): nobody is disturbed if the guard fails.
OUTSIDE = "192.0.2.1"
PROBE = f"""
import socket
for name, call in {{
    "look-up": lambda: socket.getaddrinfo("example.invalid", 80),
    "connect": lambda: socket.create_connection(("{OUTSIDE}", 80), timeout=2),
}}.items():
    try:
        call()
    except OSError as error:
        print(name, type(error).__name__)
"""
EXPECTED = ["look-up LookupRefused", "connect NetworkRefused"]


@pytest.fixture(autouse=True)
def own_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """These attempts are meant: they must not fail the whole run."""
    log = tmp_path / "refusals.txt"
    monkeypatch.setenv("LABKIT_OFFLINE_LOG", str(log))
    return log


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LocalHost", "", "0.0.0.0", "::", "::ffff:127.0.0.1", None, b"localhost"]
)
def test_loopback_is_local(host: str | None) -> None:
    assert network.is_local(host)


@pytest.mark.parametrize(
    "host", [OUTSIDE, "10.0.0.1", "192.168.1.1", "169.254.169.254", "2001:db8::1", "fe80::1%eth0", "::ffff:192.0.2.1", "example.invalid",
             "localhost.example.invalid", "255.255.255.255", "224.0.0.1", b"example.invalid"],
)  # fmt: skip
def test_everything_else_is_not(host: str) -> None:
    assert not network.is_local(host)


@pytest.mark.parametrize(
    "call",
    [
        lambda: socket.create_connection((OUTSIDE, 80), timeout=1),
        lambda: socket.socket().connect((OUTSIDE, 80)),
        lambda: socket.socket().connect_ex((OUTSIDE, 80)),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect((OUTSIDE, 53)),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (OUTSIDE, 53)),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", 0, (OUTSIDE, 53)),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b"x"], [], 0, (OUTSIDE, 53)),
        lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80, 0, 0)),
        lambda: socket.getaddrinfo("example.invalid", 443),
        lambda: socket.getaddrinfo(host="example.invalid", port=443),
        lambda: socket.gethostbyname("example.invalid"),
        lambda: socket.gethostbyname_ex("example.invalid"),
        lambda: socket.gethostbyaddr(OUTSIDE),
        lambda: socket.getnameinfo((OUTSIDE, 80), 0),
    ],
)
def test_each_way_out_is_closed(call: object, own_log: Path) -> None:
    with pytest.raises(OSError, match="refused: LABKIT_OFFLINE"):
        call()  # type: ignore[operator]
    assert "test_network.py" in own_log.read_text()


def test_what_asks_for_a_proxy_wants_to_go_out(own_log: Path) -> None:
    import urllib.request

    with pytest.raises(OSError, match="by way of the proxy"):
        urllib.request.urlopen("http://example.invalid")
    assert "test_network.py" in own_log.read_text(), "the caller is told, not the library"


def test_loopback_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"))
        answer.start()
        with socket.create_connection(("localhost", server.getsockname()[1]), timeout=10) as client:
            assert client.recv(5) == b"hello"
        answer.join()
    one, two = socket.socketpair()
    with one, two:
        one.sendall(b"x")
        assert two.recv(1) == b"x"


def test_a_subprocess_is_refused(own_log: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == EXPECTED
    assert len(own_log.read_text().splitlines()) == 2


def test_a_subprocess_without_the_guard_is_not(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "LABKIT_OFFLINE"}
    done = subprocess.run(
        [sys.executable, "-c", "import socket; print(hasattr(socket, '_labkit_refused'))"], capture_output=True, text=True, check=True,
        env=environment,
    )  # fmt: skip
    assert done.stdout.strip() == "False"


def test_another_sitecustomize_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.ANOTHER = 1")
    environment = network.environment({**os.environ, "PYTHONPATH": str(tmp_path)})
    done = subprocess.run(
        [sys.executable, "-c", f"print(ANOTHER)\n{PROBE}"], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split("\n")[:3] == ["1", *EXPECTED]


def test_a_joblib_worker_is_refused() -> None:
    from joblib import Parallel, delayed

    answers = Parallel(n_jobs=2, backend="loky")(delayed(_attempt)() for _ in range(2))
    assert {name for name, _ in answers} == {"LookupRefused"}
    assert os.getpid() not in {pid for _, pid in answers}


def _attempt() -> tuple[str, int]:
    try:
        socket.getaddrinfo("example.invalid", 80)
    except OSError as error:
        return type(error).__name__, os.getpid()
    return "nothing refused", os.getpid()


def test_a_kernel_and_its_subprocess_are_refused(toys: Toys) -> None:
    toys.add("10_out", f"# %%\n{PROBE}\n# %%\nimport subprocess, sys\nprint(subprocess.run([sys.executable, '-c', {PROBE!r}], "
                       "capture_output=True, text=True).stdout)")  # fmt: skip
    run = run_chapters(all_chapters(), toys.root, options=Options(jobs=1, quiet=True))
    text = (run.folder / run.records()["10_out"]["notebook"]).read_text()
    assert text.count(EXPECTED[0]) == text.count(EXPECTED[1]) == 2


def test_it_can_be_allowed_again() -> None:
    code = (
        "import socket; from labkit.course import network; before = socket.getaddrinfo\n"
        "allow = network.refuse(); again = network.refuse(); assert socket.getaddrinfo is not before\n"
        "again(); assert socket.getaddrinfo is not before\n"
        "allow(); assert socket.getaddrinfo is before; assert 'connect' not in vars(socket.socket)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "LABKIT_OFFLINE"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
