"""The doctor: each thing it looks at, well and ill; every problem has a remedy; essentials decide the exit status."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from labkit.course import cli, doctor
from labkit.course.doctor import Finding


def grades(findings: Iterator[Finding]) -> list[str]:
    return [finding.grade for finding in findings]


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(
        "# made by a tool\n"
        "torch==2.9.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n    # via labkit\n"
        "numpy==2.1.0 ; python_version >= '3.11' \\\n    --hash=sha256:22\n"
        "old==1.0 ; python_version < '3' \\\n    --hash=sha256:33\n"
        f"elsewhere==1.0 ; sys_platform != '{sys.platform}' \\\n    --hash=sha256:44\n"
        "Zope.Interface==7.0 \\\n    --hash=sha256:55\n"
    )
    return path


def having(**versions: str) -> Any:
    def installed(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    return installed


GOOD = {"torch": "2.9.0+cpu", "numpy": "2.1.0", "zope-interface": "7.0"}


def test_the_lock_is_read_with_its_markers(lock: Path) -> None:
    assert doctor.read_lock(lock) == {"torch": "2.9.0", "numpy": "2.1.0", "zope-interface": "7.0"}


def test_packages_as_in_the_lock_are_good(lock: Path) -> None:
    assert grades(doctor.packages(lock, having(**GOOD))) == ["good"]


def test_another_version_is_worth_knowing(lock: Path) -> None:
    (finding,) = doctor.packages(lock, having(**{**GOOD, "numpy": "2.0.0"}))
    assert finding.grade == "note"
    assert "numpy 2.0.0 (lock: 2.1.0)" in finding.found


def test_a_missing_essential_is_a_problem_and_another_is_not(lock: Path) -> None:
    (finding,) = doctor.packages(lock, having(**{"numpy": "2.1.0", "zope-interface": "7.0"}))
    assert (finding.grade, "torch" in finding.found) == ("problem", True)
    (finding,) = doctor.packages(lock, having(**{"numpy": "2.1.0", "torch": "2.9.0"}))
    assert (finding.grade, "zope-interface" in finding.found) == ("note", True)


def test_no_lock_is_worth_knowing(tmp_path: Path) -> None:
    assert grades(doctor.packages(tmp_path / "none.lock")) == ["note"]


@pytest.mark.parametrize(
    ("version", "grade"), [((3, 10, 9), "problem"), ((3, 11, 0), "good"), ((3, 14, 1), "good"), ((2, 7, 18), "problem")]
)
def test_python(version: tuple[int, ...], grade: str) -> None:
    (finding,) = doctor.python(version)
    assert finding.grade == grade
    assert ".".join(map(str, version)) in finding.found


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_DEVICE", "cuda:99")
    (finding,) = doctor.device()
    assert finding.grade == "problem"
    assert "LABKIT_DEVICE" in finding.remedy
    monkeypatch.setenv("LABKIT_DEVICE", "cpu")
    assert grades(doctor.device()) == ["good"]


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    class State:
        available, total = 1 * 2**30, 4 * 2**30

    monkeypatch.setattr(psutil, "virtual_memory", State)
    (finding,) = doctor.memory()
    assert (finding.grade, finding.found) == ("note", "1.0 of 4.0 GiB free")


def test_too_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 10_000)
    assert grades(doctor.threads()) == ["note"]


def test_caches_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LABKIT_WORK", str(tmp_path / "work"))
    (tmp_path / "work").mkdir()
    assert grades(doctor.caches()) == ["good", "good"]
    assert list((tmp_path / "work").iterdir()) == []
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "file"))
    cache, _ = doctor.caches()
    assert cache.grade == "problem"
    assert "LABKIT_CACHE" in cache.remedy
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))

    def refuse(*args: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    findings = list(doctor.caches())
    assert [finding.grade for finding in findings] == ["problem", "problem"]
    assert "Read-only file system" in findings[0].found


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - 10**8, 10**8))
    assert grades(doctor.disk()) == ["problem"]


def test_data_sets_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    assert grades(doctor.data()) == ["note"]
    (tmp_path / "MNIST").mkdir()
    (finding,) = doctor.data()
    assert (finding.grade, finding.found.startswith("MNIST")) == ("good", True)


def test_tools_that_are_missing_are_only_worth_knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert grades(doctor.browser()) == grades(doctor.git()) == ["note"]
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert grades(doctor.browser()) == grades(doctor.git()) == ["good"]


def test_a_look_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Finding]:
        raise ImportError("No module named 'psutil'")

    monkeypatch.setattr(doctor, "memory", broken)
    findings = doctor.examine()
    assert any(finding.what == "broken" and "psutil" in finding.found for finding in findings)
    assert findings[-1].what == "git"


def test_what_is_not_good_has_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("LABKIT_DEVICE", "cuda:99")
    monkeypatch.setenv("PATH", os.devnull)
    findings = doctor.examine()
    assert {"note", "problem"} <= {finding.grade for finding in findings}
    assert all(bool(finding.remedy) == (finding.grade != "good") for finding in findings)


@pytest.mark.parametrize(
    ("worst", "status", "verdict"), [("good", 0, "can run here"), ("note", 0, "can run here"), ("problem", 1, "1 problem to mend")]
)
def test_the_exit_status_tells(
    worst: Any, status: int, verdict: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [Finding("One", "good", "fine"), Finding("Another thing", worst, "seen", "Do this.")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert cli.main(["doctor"]) == status
    text = capsys.readouterr().out
    assert verdict in text
    assert "Do this." in text
