"""Records: rows of named fields with units, and the rules that a possible record keeps.

A network looks at a record as numbers in [0, 1]; the world it comes from has whole packets, sums that must agree, and facts that nobody
can change afterwards. A ``Schema`` knows both sides: ``encode`` and ``decode`` translate, ``possible`` returns the nearest record that
could really occur, and ``violations`` names the rules that a record breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

Control = Literal["free", "up", "down", "fixed", "derived"]
Columns = dict[str, Tensor]
SAME = 2e-7  # two float32 encodings that are this near stand for the same value
AGREES = 2e-6  # a field computed from others inherits the rounding of their encodings


@dataclass(frozen=True)
class Field:
    """One field. ``kind``: real, integer or flag (0 or 1). ``scale``: how it is mapped to [0, 1].

    ``control``: what an attacker can do to it: anything ("free"), only more or only less than it was ("up", "down"), nothing
    ("fixed"), or nothing directly because it follows from other fields ("derived"). ``meaning``: one line for a reader.
    """

    name: str
    unit: str
    low: float
    high: float
    kind: Literal["real", "integer", "flag"] = "real"
    scale: Literal["linear", "log"] = "linear"
    control: Control = "fixed"
    meaning: str = ""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"field {self.name!r}: the range [{self.low}, {self.high}] is empty")
        if self.kind == "flag" and (self.low, self.high) != (0, 1):
            raise ValueError(f"field {self.name!r} is a flag: its range is 0 to 1, not {self.low} to {self.high}")


@dataclass(frozen=True)
class Schema:
    """The fields of a record in order, and ``follow``: the function that makes dependent fields agree.

    ``follow`` takes and returns columns by name in natural units, (N,) float64 each; applying it twice changes nothing more.
    """

    fields: tuple[Field, ...]
    follow: Callable[[Columns], Columns] = lambda columns: columns

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two fields are called {twice[0]!r}")

    def __len__(self) -> int:
        return len(self.fields)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The fields' names in order."""
        return tuple(field.name for field in self.fields)

    def column(self, name: str) -> int:
        """Return the position of a field. Raises ValueError for a name that is not there."""
        if name not in self.names:
            raise ValueError(f"no field {name!r}; the fields are {', '.join(self.names)}")
        return self.names.index(name)

    def changeable(self) -> Tensor:
        """Return (F,) float32: 1 where an attacker can change a field directly, 0 elsewhere: the mask of a norm ball."""
        return torch.tensor([float(field.control in ("free", "up", "down")) for field in self.fields])

    def encode(self, columns: Mapping[str, Tensor]) -> Tensor:
        """Return records (N, F) float32 in [0, 1] from columns (N,) in natural units; values outside a field's range are clipped."""
        return self._encoded(torch.stack([columns[field.name].double() for field in self.fields], 1))

    def decode(self, x: Tensor) -> Columns:
        """Return columns (N,) float64 in natural units, differentiable; integers are not rounded. Raises ValueError for another width."""
        return dict(zip(self.names, self._natural(x).unbind(1), strict=True))

    @cached_property
    def _table(self) -> dict[str, Tensor]:
        """What the fields say, (F,) each, so that a record is handled whole and not field by field."""
        marks = {name: torch.tensor([field.control == name for field in self.fields]) for name in ("fixed", "up", "down", "derived")}
        span = torch.tensor([field.high - field.low for field in self.fields], dtype=torch.float64)
        return marks | {
            "low": torch.tensor([field.low for field in self.fields], dtype=torch.float64),
            "high": torch.tensor([field.high for field in self.fields], dtype=torch.float64),
            "log": torch.tensor([field.scale == "log" for field in self.fields]),
            "whole": torch.tensor([field.kind != "real" for field in self.fields]),
            "span": span,
            "stretch": torch.log1p(span),
        }

    def _facts(self, device: torch.device) -> dict[str, Tensor]:
        return self._table if device.type == "cpu" else {name: column.to(device) for name, column in self._table.items()}

    def _encoded(self, values: Tensor, clip: bool = True) -> Tensor:
        t = self._facts(values.device)
        value = (torch.minimum(torch.maximum(values, t["low"]), t["high"]) if clip else values) - t["low"]
        return torch.where(t["log"], torch.log1p(value.clamp_min(-0.5)) / t["stretch"], value / t["span"]).float()

    def _natural(self, x: Tensor) -> Tensor:
        if x.ndim != 2 or x.shape[1] != len(self.fields):
            raise ValueError(f"records have shape (N, {len(self.fields)}), got {tuple(x.shape)}")
        t, value = self._facts(x.device), x.double()
        return t["low"] + torch.where(t["log"], torch.expm1(value * t["stretch"]), value * t["span"])

    def _followed(self, values: Tensor, clip: bool = True) -> Tensor:
        columns = self.follow(dict(zip(self.names, values.unbind(1), strict=True)))
        return self._encoded(torch.stack([columns[name].double() for name in self.names], 1), clip)

    def possible(self, x: Tensor, original: Tensor | None = None) -> Tensor:
        """Return, for each record x (N, F), one that can occur: whole numbers whole, dependent fields in agreement.

        ``original`` (N, F): the record before the attack; then fields move only as their ``control`` allows.
        """
        t = self._facts(x.device)
        values = torch.minimum(torch.maximum(self._natural(x), t["low"]), t["high"])
        if original is not None:
            old = self._natural(original)
            values = torch.where(t["fixed"], old, values)
            values = torch.where(t["up"], torch.maximum(values, old), values)
            values = torch.where(t["down"], torch.minimum(values, old), values)
        fitted = self._followed(torch.where(t["whole"], values.round(), values))
        near = torch.where(t["derived"], AGREES, SAME)
        for known in (x.float(), original):  # what is possible, or was there before, stays bit for bit as it is
            if known is not None:
                fitted = torch.where((fitted - known).abs() <= near, known.float(), fitted)
        return fitted

    def violations(self, x: Tensor, original: Tensor | None = None) -> dict[str, Tensor]:
        """Return, by rule, which records break it, (N,) bool: a field out of range, not whole, changed as it may not, or in disagreement.

        A record without any is possible. Only rules that some record breaks are listed.
        """
        broken = {}
        for fault, rows in self._faults(x, original).items():
            for column in rows.any(0).nonzero().flatten().tolist():
                broken[f"{self.fields[column].name} {fault}"] = rows[:, column]
        return broken

    def allows(self, x: Tensor, original: Tensor | None = None) -> Tensor:
        """Return which records break none of the rules of ``violations``, (N,) bool."""
        return ~torch.stack([rows.any(1) for rows in self._faults(x, original).values()]).any(0)

    def _faults(self, x: Tensor, original: Tensor | None) -> dict[str, Tensor]:
        """Return, by kind of fault, which fields of which records have it, (N, F) bool."""
        t, value = self._facts(x.device), x.float()
        values = self._natural(x)
        wholes = torch.where(t["whole"], values.round(), values)
        rounded = self._encoded(wholes)
        faults = {
            "out of range": ~((value >= 0) & (value <= 1)),  # nan is no number of anything
            "not whole": ((rounded - value).abs() > SAME) & t["whole"],
            # Not clipped: nothing may hide behind the end of a range.
            "disagrees": (self._followed(wholes, clip=False) - rounded).abs() > 2 * AGREES,
        }
        if original is not None:
            change = value - original.float()
            wrong = (t["fixed"] & (change.abs() > SAME)) | (t["up"] & (-change > SAME)) | (t["down"] & (change > SAME))
            faults["may not change so"] = wrong
        return faults


def one_of(columns: Mapping[str, Tensor], names: Sequence[str]) -> Columns:
    """Return the flags ``names`` so that exactly one of them is 1 in each record, the largest: a rule for ``follow``."""
    stacked = torch.stack([columns[name] for name in names], 1)
    chosen = torch.zeros_like(stacked).scatter_(1, stacked.detach().argmax(1, keepdim=True), 1.0)
    return dict(zip(names, chosen.unbind(1), strict=True))


__all__ = ["AGREES", "SAME", "Columns", "Control", "Field", "Schema", "one_of"]
