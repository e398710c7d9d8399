from __future__ import annotations

import functools
import hashlib
import http.server
import io
import shutil
import tarfile
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.course.commands import data as command
from labkit.data import DataCorrupt, catalogue, cifar10, fake, load, mnist, obtain, sources
from labkit.data.sources import Source
from labkit.data.verify import Known


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def public(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which a server on the loopback address publishes it."""
    folder = tmp_path / "public"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def labkit_data() -> Callable[..., int]:
    def run(*words: str) -> int:
        parser = ArgumentParser()
        command.add_arguments(parser)
        return command.run(parser.parse_args(words))

    return run


def test_get_then_load(public, labkit_data, monkeypatch, capsys, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, base = public
    known = fake.write_idx(folder)
    files = tuple(Source(f"MNIST/raw/{name}", facts, (base + name,)) for name, facts in known.items())
    monkeypatch.setitem(sources.SOURCES, "mnist", files)
    monkeypatch.setattr(mnist, "UNPACKED", {})
    with pytest.raises(FileNotFoundError):
        load("mnist")
    assert labkit_data("get", "mnist") == 0
    told = capsys.readouterr().out
    assert "mnist: 4 files, 0.1 MB" in told
    assert str(tmp_path / "data") in told
    assert "to download" in told
    assert load("mnist").fingerprint == load("mnist", smoke=True).fingerprint
    shutil.rmtree(folder)
    assert labkit_data("get", "mnist") == 0
    assert "checking them" in capsys.readouterr().out
    labkit_data("list")
    assert "found: MNIST/raw" in capsys.readouterr().out


def archive_of(folder: Path, extra: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, f"cifar-10-batches-py/{path.name}")
        if extra:
            tar.addfile(tarfile.TarInfo(extra))
    return buffer.getvalue()


def test_cifar10_is_unpacked_and_verified_and_nothing_else_comes_out(public, labkit_data, monkeypatch, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, base = public
    known = fake.write_batches(tmp_path / "made")
    content = archive_of(tmp_path / "made", extra="../../escaped")
    (folder / "cifar.tar.gz").write_bytes(content)
    facts = Known(len(content), hashlib.md5(content).hexdigest())
    monkeypatch.setitem(sources.SOURCES, "cifar10", (Source("cifar-10-python.tar.gz", facts, (base + "cifar.tar.gz",)),))
    for module in (cifar10, obtain):
        monkeypatch.setattr(module, "KNOWN_BATCHES", known)
    assert labkit_data("get", "cifar10") == 0
    assert load("cifar10").fingerprint == load("cifar10", smoke=True).fingerprint
    assert not list(tmp_path.rglob("escaped"))
    known["test_batch"] = Known(1, "0" * 32)
    with pytest.raises(DataCorrupt, match="test_batch"):
        obtain.unpack_batches(tmp_path / "data" / "cifar-10-python.tar.gz", tmp_path / "elsewhere", known)
    assert not (tmp_path / "elsewhere" / "test_batch").exists()


def test_one_failure_does_not_stop_the_others(public, labkit_data, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    folder, base = public
    known = fake.write_idx(folder)
    good = tuple(Source(f"MNIST/raw/{name}", facts, (base + name,)) for name, facts in known.items())
    monkeypatch.setitem(sources.SOURCES, "mnist", good)
    monkeypatch.setitem(sources.SOURCES, "gtsrb", (Source("gtsrb/absent.zip", Known(10, "0" * 32), (base + "absent.zip",)),))
    assert labkit_data("get", "gtsrb", "mnist") == 1
    told = capsys.readouterr()
    assert "HTTP 404" in told.err
    assert "mnist: ready" in told.out


def test_unknown_names_and_a_small_disk(labkit_data, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    assert labkit_data("get", "signs") == 2
    assert "cannot download signs" in capsys.readouterr().err
    monkeypatch.setattr(obtain.shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    assert labkit_data("get", "mnist") == 1
    assert "12 MB are needed and 1 MB are free" in capsys.readouterr().err


def test_where_and_list(labkit_data, capsys, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert labkit_data("where") == 0
    assert str(tmp_path / "data") in capsys.readouterr().out
    assert labkit_data("list") == 0
    told = capsys.readouterr().out
    assert told.count("embedded") == len(catalogue.EMBEDDED)
    assert told.count("absent: labkit data get") == len(sources.SOURCES)  # what can be downloaded says so; the rest names its card
