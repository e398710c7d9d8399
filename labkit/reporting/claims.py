"""A paper's claim, its figures, and the tolerance that judges a measured number: a rule, a value and a unit."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = ("recomputed", "same weights", "retrained", "reduced", "analogue")
RULES = ("within", "at least", "at most", "between", "factor", "exact")
STATUSES = ("VERIFIED", "RECALLED")


class UnknownClaim(ValueError):
    """A claim or a figure that `data/reported/` does not hold; the message names the nearest ones."""


@dataclass(frozen=True)
class Tolerance:
    """A rule, a value and a unit: how far a measured number may lie from the reported one.

    ``within`` value pp (points) or "% of reported"; ``at least``, ``at most`` value; ``between`` [low, high]; ``factor`` value;
    ``exact``: equal when rounded to the decimals that were printed. Values of "%" and "pp" are percentages.
    """

    rule: str
    value: float | tuple[float, float] | None = None
    unit: str = ""

    def holds(self, measured: float, figure: Figure) -> bool:
        """Return whether ``measured``, in the figure's own unit, keeps the tolerance. NaN never does."""
        if math.isnan(measured):
            return False
        scale = 0.01 if figure.unit == "%" and self.unit in ("%", "pp") else 1.0
        slack = 1e-9  # a bound is inclusive: 0.932 - 0.015 is not to fail for its last bit
        if self.rule == "between":
            assert isinstance(self.value, tuple)
            return self.value[0] * scale - slack <= measured <= self.value[1] * scale + slack
        if self.rule == "exact":
            return _rounded(measured, figure) == _rounded(_known(figure), figure)
        assert isinstance(self.value, (int, float))
        if self.rule == "at least":
            return measured >= self.value * scale - slack
        if self.rule == "at most":
            return measured <= self.value * scale + slack
        reported = _known(figure)
        if self.rule == "factor":
            return reported / self.value - slack <= measured <= reported * self.value + slack
        allowed = abs(reported) * self.value / 100 if self.unit == "% of reported" else self.value * scale
        return abs(measured - reported) <= allowed + slack

    def __str__(self) -> str:
        unit = {"pp": " point" if self.value == 1 else " points", "%": "%", "": ""}.get(self.unit, f" {self.unit}")
        if self.rule == "exact":
            return "equal to the printed digits"
        if isinstance(self.value, tuple):
            return f"between {self.value[0]:g} and {self.value[1]:g}{unit}"
        if self.rule == "within":
            return f"within {self.value:g}{'%' if self.unit == '% of reported' else unit}" + " of it" * (self.unit == "% of reported")
        return f"within a factor of {self.value:g}" if self.rule == "factor" else f"{self.rule} {self.value:g}{unit}"


@dataclass(frozen=True)
class Figure:
    """One reported number. ``value`` is None where the paper gives a range or words only; unit "%" means a fraction."""

    id: str
    what: str
    value: float | None
    unit: str
    printed: str
    better_for_attacker: str
    status: str
    source: str
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    range: tuple[float, float] | None = None
    qualifier: str = ""
    decimals: int | None = None

    @property
    def reported(self) -> str:
        """The number as it is shown, with the decimals of the print; "recalled, unconfirmed" where nobody has checked it."""
        if self.range is not None:
            text = f"{_digits(self.range[0], self)} to {_digits(self.range[1], self)}"
        else:
            text = self.printed if self.value is None else _digits(self.value, self)
        text = f"{self.qualifier} {text}".strip()
        return text if self.status == "VERIFIED" else f"{text} (recalled, unconfirmed)"

    def judge(self, measured: float | None, kind: str) -> tuple[str, Tolerance | None]:
        """Return HIT, MISS, "no tolerance" or "not measured", and the tolerance that decided."""
        tolerance = self.tolerance.get(kind)
        if measured is None:
            return "not measured", tolerance
        if tolerance is None:
            return "no tolerance", None
        return ("HIT" if tolerance.holds(measured, self) else "MISS"), tolerance


@dataclass(frozen=True)
class Claim:
    """A paper's claim: where it stands, on what data and model, with what settings, and its figures."""

    id: str
    paper: Mapping[str, Any]
    where: str
    data: str
    model: str
    training: str
    settings: Mapping[str, Any]
    metric: str
    runs_on: str
    notes: tuple[str, ...]
    figures: Mapping[str, Figure]

    def figure(self, name: str) -> Figure:
        """Return a figure by its id (blanks may stand for hyphens). Raises UnknownClaim naming near ones."""
        wanted = name.strip().lower().replace(" ", "-")
        if wanted in self.figures:
            return self.figures[wanted]
        near = difflib.get_close_matches(wanted, self.figures, 4, 0.4) or list(self.figures)[:8]
        raise UnknownClaim(f"claim {self.id} has no figure {name!r}; did you mean {', '.join(near)}?")

    @property
    def citation(self) -> str:
        """Authors and year, as in "Ding, Wang, Jin 2019"."""
        return f"{self.paper['authors']} {self.paper['year']}"


def _known(figure: Figure) -> float:
    if figure.value is None:
        raise ValueError(f"figure {figure.id} has no single value to compare with: {figure.printed!r}")
    return figure.value


def _rounded(value: float, figure: Figure) -> float:
    in_print = 100 * value if figure.unit == "%" else value
    return round(in_print + 1e-9, figure.decimals or 0)


def _digits(value: float, figure: Figure) -> str:
    if figure.unit == "%":
        return f"{100 * value:.{max(0, figure.decimals or 0) if figure.range is None else 0}f}%"
    text = f"{value:,.{figure.decimals}f}" if figure.decimals is not None and 0 <= figure.decimals <= 5 else f"{value:.4g}"
    return f"{text} {figure.unit}".strip()
