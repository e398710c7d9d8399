"""Downloads against a real server on the loopback address that misbehaves in every way the world does."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.data import DownloadFailed
from labkit.data.download import Patience, fetch
from labkit.data.verify import Known

CONTENT = bytes(range(256)) * 2000
KNOWN = Known(len(CONTENT), hashlib.md5(CONTENT).hexdigest())
HASTY = Patience(timeout=0.5, fruitless=3, attempts=12, pause=0.0)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.released = threading.Event()

    def url(self, behavior: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{behavior}"

    def handle_error(self, *_args: object) -> None:
        pass  # clients that hang up are part of the test


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        behavior, wanted = self.path.strip("/"), self.headers.get("Range")
        self.server.requests.append((behavior, wanted))
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if behavior == "absent":
            return self.send_error(404)
        if behavior == "broken":
            return self.send_error(503)
        if behavior == "ignores-range":
            start, wanted = 0, None
        if wanted and start >= len(CONTENT):
            return self.send_error(416)
        body = CONTENT[start:]
        self.send_response(206 if wanted else 200)
        if wanted:
            claimed = start + 1 if behavior == "wrong-range" else start
            self.send_header("Content-Range", f"bytes {claimed}-{len(CONTENT) - 1}/{len(CONTENT)}")
        if behavior == "wrong":
            body = b"\xff" + body[1:]
        if behavior == "endless":
            self.end_headers()
            for _ in range(400):
                self.wfile.write(CONTENT[:65536])
            return None
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if behavior == "truncates":
            self.wfile.write(body[:200_000])
        elif behavior == "empty":
            pass
        elif behavior == "stalls":
            self.wfile.write(body[:200_000])
            self.wfile.flush()
            self.server.released.wait(20)
        else:
            self.wfile.write(body)
        return None


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


def get(server: Server, path: Path, *behaviors: str, patience: Patience = HASTY) -> bool:
    return fetch([server.url(behavior) for behavior in behaviors], path, KNOWN, patience=patience)


def test_a_good_server_and_a_second_call(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    gained: list[int] = []
    assert fetch([server.url("good")], path, KNOWN, patience=HASTY, advance=gained.append)
    assert path.read_bytes() == CONTENT
    assert sum(gained) == len(CONTENT)
    assert not get(server, path, "good")
    assert len(server.requests) == 1
    assert [item.name for item in path.parent.iterdir() if not item.name.endswith(".lock")] == ["file"]


@pytest.mark.parametrize("behavior", ["truncates", "stalls"])
def test_an_interrupted_transfer_is_continued_where_it_ended(behavior: str, server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path / "file", behavior)
    assert (tmp_path / "file").read_bytes() == CONTENT
    ranges = [wanted for _, wanted in server.requests]
    assert ranges[0] is None
    assert len(ranges) == 3
    starts = [int(wanted.removeprefix("bytes=").removesuffix("-")) for wanted in ranges[1:] if wanted]
    assert len(starts) == 2
    assert 0 < starts[0] < starts[1] < len(CONTENT)


def test_a_later_call_continues_an_earlier_one(server: Server, tmp_path: Path) -> None:
    once = Patience(timeout=0.5, fruitless=1, attempts=1, pause=0)
    with pytest.raises(DownloadFailed, match=r"ended after 200,000 of 512,000 bytes; 200,000 bytes are kept in .*file\.part"):
        get(server, tmp_path / "file", "truncates", patience=once)
    assert not (tmp_path / "file").exists()
    assert get(server, tmp_path / "file", "good")
    assert server.requests[-1] == ("good", "bytes=200000-")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    gained: list[int] = []
    assert fetch([server.url("ignores-range")], tmp_path / "file", KNOWN, patience=HASTY, advance=gained.append)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert sum(gained) == len(CONTENT)
    assert -1000 in gained


def test_a_wrong_range_is_not_glued_on(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    assert get(server, tmp_path / "file", "wrong-range", "good")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_wrong_bytes_never_take_the_files_place_and_retries_end(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"an older file")
    with pytest.raises(DownloadFailed, match=rf"wrong content: 512,000 bytes with md5 \w+, expected {KNOWN.md5}"):
        get(server, tmp_path / "file", "wrong")
    assert (tmp_path / "file").read_bytes() == b"an older file"
    assert not (tmp_path / "file.part").exists()
    assert len(server.requests) == HASTY.fruitless


def test_the_next_mirror_heals_wrong_bytes(server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path / "file", "wrong", "good")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_spoiled_beginning_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"\xff" * 1000)
    assert get(server, tmp_path / "file", "good")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == ["bytes=1000-", None]


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"more"])
def test_a_part_that_is_whole_or_too_long(part: bytes, server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(part)
    assert get(server, tmp_path / "file", "good")
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize(("behavior", "most"), [("absent", 1), ("broken", 3), ("empty", 3)])
def test_retries_are_bounded_and_the_reason_told(behavior: str, most: int, server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match={"absent": "HTTP 404", "broken": "HTTP 503", "empty": "ended after 0"}[behavior]):
        get(server, tmp_path / "file", behavior)
    assert len(server.requests) == most
    assert not (tmp_path / "file").exists()


def test_every_mirror_is_tried_and_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"/absent: HTTP 404.*/broken: HTTP 503"):
        get(server, tmp_path / "file", "absent", "broken")
    assert get(server, tmp_path / "file", "absent", "broken", "good")


def test_a_server_that_never_stops_cannot_fill_the_disk(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="wrong content"):
        get(server, tmp_path / "file", "endless", patience=Patience(timeout=2, fruitless=1, attempts=1, pause=0))
    assert not list(tmp_path.glob("file*.part"))


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="refused"):
        fetch(["http://127.0.0.1:1/file"], tmp_path / "file", KNOWN, patience=HASTY)


def test_a_full_disk_is_told_and_the_beginning_kept(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"the disk is full \(\d+ MB free\) while downloading .*file; what has arrived is kept"):
            get(server, tmp_path / "file", "good")
    assert len(server.requests) == 1
    assert not (tmp_path / "file").exists()
    assert get(server, tmp_path / "file", "good")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_two_processes_download_once(server: Server, tmp_path: Path) -> None:
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(get(server, tmp_path / "file", "good"))) for _ in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, True]
    assert len(server.requests) == 1
