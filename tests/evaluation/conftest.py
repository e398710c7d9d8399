"""These tests compute on the CPU, also where there is a GPU."""

import pytest


@pytest.fixture(autouse=True)
def _cpu(monkeypatch):
    monkeypatch.setenv("LABKIT_DEVICE", "cpu")
