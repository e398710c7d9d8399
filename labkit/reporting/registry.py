"""The papers' numbers: `data/reported/*.yaml`, one entry per figure, each tolerance fixed before anything was run."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkit.files import ProjectNotFound, project_root
from labkit.reporting.claims import Claim, Figure, Tolerance, UnknownClaim


def claim(name: str) -> Claim:
    """Return a claim by its id. Raises UnknownClaim naming near ones, ImportError where PyYAML is not installed."""
    places = _places(_folder())
    if name not in places:
        near = difflib.get_close_matches(name, places, 4, 0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise UnknownClaim(f"no claim {name!r} in {_folder()}{hint}")
    return _parsed(places[name])[name]


def all_claims() -> list[Claim]:
    """Return every claim, file by file."""
    return [found for path in sorted(set(_places(_folder()).values())) for found in _parsed(path).values()]


def _folder() -> Path:
    # Toy trees of the tests have no claims of their own: theirs are those of the checkout that labkit runs from.
    own = Path(__file__).resolve().parent.parent.parent / "data" / "reported"
    try:
        folder = project_root() / "data" / "reported"
    except ProjectNotFound:
        return own
    return folder if folder.is_dir() else own


@functools.cache
def _places(folder: Path) -> dict[str, Path]:
    # Ids stand at the left margin, so that one claim is found without parsing 120.
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.yaml")):
        for name in re.findall(r"^- id: (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            if name in found:
                raise ValueError(f"claim {name} stands in {found[name].name} and in {path.name}")
            found[name] = path
    return found


@functools.cache
def _parsed(path: Path) -> dict[str, Claim]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    entries = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    return {entry["id"]: _claim(entry) for entry in entries}


def _claim(entry: Mapping[str, Any]) -> Claim:
    figures = {raw["id"]: _figure(raw) for raw in entry["figures"]}
    rest = {key: entry[key] for key in ("id", "paper", "where", "data", "model", "training", "settings", "metric", "runs_on")}
    return Claim(**rest, notes=tuple(entry["notes"]), figures=figures)


def _figure(raw: Mapping[str, Any]) -> Figure:
    tolerance = {kind: _tolerance(rule) for kind, rule in (raw["tolerance"] or {}).items()}
    span = tuple(raw["range"]) if "range" in raw else None
    return Figure(**{**raw, "tolerance": tolerance, "range": span})


def _tolerance(raw: Mapping[str, Any]) -> Tolerance:
    value = raw.get("value")
    return Tolerance(raw["rule"], (value[0], value[1]) if isinstance(value, list) else value, raw.get("unit", ""))
