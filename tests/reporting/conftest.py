"""Shared by the tests of reporting: a fake notebook that keeps what was displayed, and a running chapter."""

import pytest

from labkit.reporting import context, emit
from labkit.reporting.context import Lab


@pytest.fixture(autouse=True)
def no_chapter(monkeypatch):
    before = context.get()
    context.set(None)
    for name in ("LABKIT_RESULTS", "LABKIT_PROGRESS", "LABKIT_PLAIN"):
        monkeypatch.delenv(name, raising=False)
    yield
    context.set(before)


@pytest.fixture
def lab():
    """Return a function that starts a chapter in a profile."""

    def start(profile="quick", chapter="10_evasion_gradient", seed=3):
        context.set(Lab(chapter, profile, seed, "cpu"))

    return start


@pytest.fixture
def shown(monkeypatch):
    """Return the list of (bundle, metadata) that a notebook would have displayed."""
    import IPython.display

    outputs = []
    monkeypatch.setattr(emit, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda bundle, raw, metadata: outputs.append((bundle, metadata)))
    return outputs
