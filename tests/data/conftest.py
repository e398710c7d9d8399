"""Every test of the data part has its own empty cache and data folder; the real data sets are used only where they are named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_REAL = os.environ.get("LABKIT_DATA")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The test's own LABKIT_DATA."""
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's LABKIT_DATA, for the tests that want the papers' real files."""
    if not _REAL or not Path(_REAL).is_dir():
        pytest.skip("LABKIT_DATA names no folder with the papers' data sets")
    monkeypatch.setenv("LABKIT_DATA", _REAL)
    return Path(_REAL)
