"""What all tests share: no network, one place for figures, chapters' notebooks kept together, costs shown at the end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from labkit.course import network
from tests.course.toys import Toys

# How long an example takes depends on the machine: no test may fail for that.
hypothesis.settings.register_profile("course", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("course")

LABKIT_TYPES = ("application/vnd.labkit.result+json", "application/vnd.labkit.comparison+json", "application/vnd.labkit.context+json")
OUTERMOST = "PYTEST_XDIST_WORKER" not in os.environ


def pytest_configure(config: pytest.Config) -> None:
    """Refuse the network here and in everything started from here; gather each attempt, also those whose error is swallowed."""
    if OUTERMOST:
        handle, name = tempfile.mkstemp(prefix="labkit-network-")
        os.close(handle)
        os.environ.update(network.environment(log=Path(name)))
    os.environ["LABKIT_PROGRESS"] = "off"  # for the kernels that nbval starts: neither bars nor lines among the outputs it compares
    network.refuse()
    import matplotlib

    matplotlib.use("Agg")  # not by MPLBACKEND: kernels would inherit it and show no figure


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a notebook's cells in one worker; of tagged cells compare what people read, not the digits behind it."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
            parent: Any = item.parent
            if LABKIT_TYPES[0] not in parent.skip_compare:
                parent.skip_compare = (*parent.skip_compare, *LABKIT_TYPES, "text/html")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the whole run when anything reached for the network, whether or not a test noticed."""
    if not OUTERMOST:
        return
    log = Path(os.environ["LABKIT_OFFLINE_LOG"])
    attempts = log.read_text(encoding="utf-8").splitlines()
    log.unlink()
    if attempts:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        told = "\n".join(f"{attempt} ({attempts.count(attempt)} times)" for attempt in sorted(set(attempts)))
        report = pytest.TestReport(
            nodeid="network", location=("network", None, "network"), keywords={}, outcome="failed", when="teardown",
            longrepr=f"something reached for the network\n{told}",
        )  # fmt: skip
        reporter.stats.setdefault("error", []).append(report)  # it then stands in the closing line as well
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what each chapter took."""
    passed = terminalreporter.stats.get("passed", [])
    costs = [value for report in passed for name, value in report.user_properties if name == "chapter cost"]
    if costs:
        terminalreporter.section("what the chapters took")
        for line in sorted(costs):
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Compute on one thread: problems of this size take many times longer when threads are woken for each operation."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit tests begin without the variable that is there for kernels."""
    monkeypatch.delenv("LABKIT_PROGRESS", raising=False)


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toys:
    """An empty toy course that LABKIT_ROOT points at."""
    monkeypatch.setenv("LABKIT_ROOT", str(tmp_path / "course"))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    return Toys(tmp_path / "course")
