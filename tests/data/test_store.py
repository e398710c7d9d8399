from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from labkit.data.store import Arrays, cached, read, sidecar


class Builder:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return {"x": np.arange(1000, dtype=np.uint8).reshape(10, 100), "y": np.full(10, 3, np.uint8)}


def test_built_once_then_read(tmp_path: Path) -> None:
    build = Builder()
    for _ in range(3):
        arrays = cached("toy-v1", build, folder=tmp_path)
        assert np.array_equal(arrays["x"], Builder()()["x"])
    assert build.calls == 1
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "no sidecar", "bad sidecar"])
def test_every_damage_is_noticed_and_mended(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build, path = Builder(), tmp_path / "toy-v1.npz"
    cached("toy-v1", build, folder=tmp_path)
    content = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(content[:-100])
    elif damage == "flip":
        path.write_bytes(content[:300] + bytes([content[300] ^ 255]) + content[301:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "no sidecar":
        sidecar(path).unlink()
    else:
        sidecar(path).write_text("{")
    with caplog.at_level(logging.WARNING):
        cached("toy-v1", build, folder=tmp_path)
    assert build.calls == 2
    assert str(path) in caplog.text
    assert "built again" in caplog.text
    caplog.clear()
    assert read(path) is not None
    assert not caplog.text


def test_a_full_disk_costs_the_cache_and_not_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    build = Builder()
    with caplog.at_level(logging.WARNING):
        assert len(cached("toy-v1", build, folder=tmp_path)["y"]) == 10
    assert build.calls == 1
    assert "the disk is full" in caplog.text
    assert not list(tmp_path.glob("*.npz"))
    assert not list(tmp_path.glob(".*.part"))


def test_a_cache_that_cannot_exist_costs_time_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert len(cached("toy-v1", Builder(), folder=tmp_path / "file" / "cache")["y"]) == 10
    assert "cannot be used" in caplog.text


def test_the_builders_own_error_is_not_swallowed(tmp_path: Path) -> None:
    calls = []

    def build() -> Arrays:
        calls.append(1)
        raise FileNotFoundError("the sheet is gone")

    with pytest.raises(FileNotFoundError, match="the sheet is gone"):
        cached("toy-v1", build, folder=tmp_path)
    assert len(calls) == 1


def test_two_at_once_build_once(tmp_path: Path) -> None:
    build = Builder()

    def slowly() -> Arrays:
        time.sleep(0.2)
        return build()

    threads = [threading.Thread(target=cached, args=("toy-v1", slowly), kwargs={"folder": tmp_path}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert build.calls == 1
