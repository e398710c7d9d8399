"""One environment, three descriptions: pyproject.toml, requirements.lock and environment.yml must agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64", "os_name": "posix"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64", "os_name": "nt"},
}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def conda() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def locked() -> list[tuple[Requirement, int]]:
    """The lock's requirements, each with its number of hashes."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [(Requirement(re.sub(r"\s--hash=\S+", "", line).strip()), line.count("--hash=sha256:")) for line in lines]


def conda_packages(conda: dict[str, Any]) -> dict[str, str]:
    """Names and version conditions of what conda itself installs."""
    found = {}
    for item in conda["dependencies"]:
        if isinstance(item, str):
            name, version = re.fullmatch(r"([a-z-]+)(.*)", item).groups()  # type: ignore[union-attr]
            found[name] = re.sub(r"^=(\d.*)$", r"==\1.*", version)
    return found


def environment(system: str, python: str) -> dict[str, str]:
    """The marker environment of a machine with this system and Python."""
    here = {name: str(value) for name, value in default_environment().items()}
    return {**here, **SYSTEMS[system], "python_version": python, "python_full_version": f"{python}.5"}


def test_conda_installs_the_lock_and_nothing_else(conda: dict[str, Any]) -> None:
    assert set(conda_packages(conda)) == {"python", "pip", "setuptools"}
    assert [item for item in conda["dependencies"] if isinstance(item, dict)] == [{"pip": ["-r requirements.lock"]}]
    assert conda["channels"][0] == "conda-forge"


def test_conda_says_how_to_install_the_project_itself() -> None:
    # A hash-checked requirements file cannot name a folder: pip refuses the whole file. So the line stands in the comment.
    assert "pip install --no-deps --no-build-isolation -e ." in (ROOT / "environment.yml").read_text(encoding="utf-8")


def test_condas_python_is_one_that_the_project_supports(conda: dict[str, Any], project: dict[str, Any]) -> None:
    python = Version(conda_packages(conda)["python"].removeprefix("==").removesuffix(".*"))
    assert python in SpecifierSet(project["requires-python"])


def test_condas_tools_can_build_the_project(conda: dict[str, Any], locked: list[tuple[Requirement, int]]) -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    (setuptools,) = (Requirement(item) for item in build)
    oldest = Version(conda_packages(conda)["setuptools"].removeprefix(">="))
    assert oldest in setuptools.specifier
    pinned = [str(item.specifier).removeprefix("==") for item, _ in locked if item.name == "setuptools"]
    assert all(Version(version) in setuptools.specifier for version in pinned)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_every_dependency_is_locked_at_a_version_that_it_allows(
    project: dict[str, Any], locked: list[tuple[Requirement, int]], system: str, python: str
) -> None:
    here = environment(system, python)
    pinned: dict[str, list[str]] = {}
    for item, _ in locked:
        if item.marker is None or item.marker.evaluate(here):
            pinned.setdefault(canonicalize_name(item.name), []).append(str(item.specifier).removeprefix("=="))
    doubled = {name: versions for name, versions in pinned.items() if len(versions) != 1}
    assert doubled == {}
    wanted = [*project["dependencies"], *(item for extra in project["optional-dependencies"].values() for item in extra)]
    for text in wanted:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({**here, "extra": ""}):
            name = canonicalize_name(requirement.name)
            assert name in pinned, f"{text} is not in the lock for {system}, Python {python}"
            assert pinned[name][0] in requirement.specifier, f"{text}: the lock has {pinned[name][0]}"


def test_every_line_of_the_lock_is_pinned_and_hashed(locked: list[tuple[Requirement, int]]) -> None:
    assert len(locked) > 100
    for item, hashes in locked:
        assert re.fullmatch(r"==[\w.+!-]+", str(item.specifier)), f"{item} is not pinned"
        assert hashes > 0, f"{item} has no hash"


def test_the_lock_names_no_package_index_and_no_place() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index|--extra-index|--find-links|--trusted)", text, re.MULTILINE)
    assert " @ " not in text


def test_no_peer_is_in_the_environment(locked: list[tuple[Requirement, int]]) -> None:
    peers = {"foolbox", "torchattacks", "adversarial-robustness-toolbox", "adv-lib", "autoattack", "cleverhans"}
    assert not peers & {canonicalize_name(item.name) for item, _ in locked}
