"""Small problems that attacks solve in milliseconds."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Problems of this size take many times longer when threads are woken for each operation."""
    monkeypatch.setenv("LABKIT_DEVICE", "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
