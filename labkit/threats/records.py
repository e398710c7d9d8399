"""Records: what an attacker can really do to a row of named fields, some fixed, some only up or only down, some following from others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from labkit.data.records import SAME, Columns, Schema
from labkit.seeding import sample_keys, uniform_for
from labkit.threats.base import Threat

#: From the columns before and after (N,) each, what the change costs the attacker, (N,), in his own unit; 0 for no change.
Cost = Callable[[Columns, Columns], Tensor]


@dataclass(frozen=True)
class Records(Threat):
    """The records that the attacker can turn his own into: possible ones by ``schema``, every field moved only as its control allows.

    ``only``: the fields that he touches (default: all that he can). ``factor``: no quantity (a field on a logarithmic scale) becomes more
    than so many times larger or smaller: at 10, a scan may run at a tenth of its speed. ``at_least``, ``at_most``: limits in a field's
    own unit, beyond which the attack would lose its purpose; a record that is beyond already may stay. ``cost``: see ``Cost``; without one
    the distance is the number of fields changed directly, those that follow from them not counted. ``eps``: the largest distance.
    Raises ValueError for an unknown or an untouchable field, a factor below 1 and a negative budget.
    """

    schema: Schema
    eps: float = math.inf
    only: tuple[str, ...] | None = field(default=None, kw_only=True)
    factor: float = field(default=math.inf, kw_only=True)
    at_least: Mapping[str, float] = field(default_factory=dict, hash=False, kw_only=True)
    at_most: Mapping[str, float] = field(default_factory=dict, hash=False, kw_only=True)
    cost: Cost | None = field(default=None, kw_only=True)

    norm: ClassVar[str] = "records"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        for name in (*(self.only or ()), *self.at_least, *self.at_most):
            control = self.schema.fields[self.schema.column(name)].control
            if name in (self.only or ()) and control in ("fixed", "derived"):
                raise ValueError(f"the attacker cannot touch {name!r}: it is {control}")
        if not self.factor >= 1:
            raise ValueError(f"factor says how many times larger or smaller, 1 or more, got {self.factor}")
        if math.isnan(self.eps) or self.eps < 0:
            raise ValueError(f"eps must be 0 or more, got {self.eps}")

    def __str__(self) -> str:
        unit = "fields" if self.cost is None else "of cost"
        parts = [f"{self.eps:g} {unit}"] if math.isfinite(self.eps) else []
        parts += [f"factor {self.factor:g}"] if math.isfinite(self.factor) else []
        parts += [f"{name} >= {value:g}" for name, value in self.at_least.items()]
        parts += [f"{name} <= {value:g}" for name, value in self.at_most.items()]
        return f"Records({', '.join(parts) or 'no budget'})"

    @property
    def free(self) -> Tensor:
        """(F,) bool: the fields that the attacker moves directly."""
        names = self.schema.names
        return self.schema.changeable().bool() & torch.tensor([self.only is None or name in self.only for name in names])

    def limits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the lowest and highest encoded value of every field of each record x (N, F), fields that follow from others open."""
        low, high = self.schema.decode(x), self.schema.decode(x)
        for one, free in zip(self.schema.fields, self.free.tolist(), strict=True):
            value, name = low[one.name], one.name
            least, most = value.new_full((), one.low), value.new_full((), one.high)
            if one.control == "derived":
                low[name], high[name] = least.expand_as(value), most.expand_as(value)
                continue
            if not free:
                continue
            below, above = least.expand_as(value), most.expand_as(value)
            if math.isfinite(self.factor) and one.scale == "log":
                amount = value if one.kind == "real" else value.round().clamp_min(1)
                below, above = torch.maximum(below, amount / self.factor), torch.minimum(above, amount * self.factor)
            if one.kind != "real":
                below, above = (below - 1e-6).ceil(), (above + 1e-6).floor()
            below, above = below.clamp_min(self.at_least.get(name, -math.inf)), above.clamp_max(self.at_most.get(name, math.inf))
            low[name] = value if one.control == "up" else torch.minimum(below, value)
            high[name] = value if one.control == "down" else torch.maximum(above, value)
        lower, upper = self.schema.encode(low), self.schema.encode(high)
        return torch.minimum(lower, x.float()), torch.maximum(upper, x.float())

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return what each change costs, (N,) float64: by ``cost``, or the number of fields changed directly."""
        if self.cost is not None:
            return self.cost(self.schema.decode(x), self.schema.decode(x_adv)).double()
        direct = torch.tensor([one.control not in ("derived", "fixed") for one in self.schema.fields], device=x.device)
        return (((x_adv - x).abs() > SAME) & direct).sum(1).double()

    def contains(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return (N,) bool: a possible record, moved as the attacker can, within the limits and the budget."""
        return self._within(x_adv, x, *self.limits(x)) & self.schema.allows(x_adv, x)

    def _within(self, x_adv: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        boxed = ((x_adv >= lower - SAME) & (x_adv <= upper + SAME)).all(1)
        return boxed & (self.distance(x_adv, x) <= self.eps + 1e-9)

    def region(self, x: Tensor) -> RecordRegion:
        """Return this threat fixed around records x (N, F). Raises ValueError for a record that is not possible before any change."""
        if broken := self.schema.violations(x):
            rule, rows = next(iter(broken.items()))
            raise ValueError(f"{int(rows.sum())} of {len(x)} records are not possible before the attack: {rule}; take schema.possible(x)")
        return RecordRegion(self, x, *self.limits(x))

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return allowed records near ``x_adv`` (N, F); those that are allowed come back bit for bit."""
        return self.region(x).project_(x_adv.clone())

    def sample(self, x: Tensor, seed: int = 0, stream: str | int = 0) -> Tensor:
        """Return one random allowed record for each x (N, F); a draw depends on the record, ``seed`` and ``stream`` only."""
        return self.region(x).sample(sample_keys(x, seed), stream)


class RecordRegion:
    """A record threat around given records: what an attack's loop needs, limits computed once."""

    def __init__(self, threat: Records, x: Tensor, lower: Tensor, upper: Tensor) -> None:
        self.threat, self.x, self.lower, self.upper = threat, x, lower, upper

    def take(self, index: Tensor) -> RecordRegion:
        """Return the region of some of the records."""
        return RecordRegion(self.threat, self.x[index], self.lower[index], self.upper[index])

    def through(self, wish: Tensor) -> Tensor:
        """Return the records that follow from wishes (N, F): differentiable, the gradient passes rounding as if it were not there."""
        schema = self.threat.schema
        values = schema._natural(torch.maximum(torch.minimum(wish, self.upper), self.lower))
        whole = schema._facts(wish.device)["whole"]
        return schema._followed(torch.where(whole, values + (values.round() - values).detach(), values)).to(wish.dtype)

    def pull_back(self, wish: Tensor, grad: Tensor) -> Tensor:
        """Return the gradient at the wishes (N, F) from the one at their records: what a field does through those that follow from it."""
        with torch.enable_grad():
            leaf = wish.detach().requires_grad_(True)
            (back,) = torch.autograd.grad(self.through(leaf), leaf, grad)
        return back * self.threat.free.to(wish.device)

    def project_(self, x_adv: Tensor) -> Tensor:
        """Return allowed records: the possible record at ``x_adv``, or on the way back to x the first one within limits and budget."""
        threat, x = self.threat, self.x
        allowed = self._allowed(x_adv)
        if bool(allowed.all()):
            return x_adv
        wish = torch.maximum(torch.minimum(x_adv, self.upper), self.lower)
        if threat.cost is None and math.isfinite(threat.eps):  # only the largest changes stay
            change = ((wish - x).abs() * threat.free.to(x.device)).argsort(dim=1, descending=True).argsort(dim=1)
            wish = torch.where(change < int(threat.eps), wish, x)
        found = threat.schema.possible(wish, x).to(x.dtype)
        good = self._allowed(found)
        if len(far := (~good).nonzero().squeeze(1)):
            found[far] = self.take(far)._back(wish[far])
        return torch.where(allowed[:, None], x_adv, found)

    def _back(self, wish: Tensor) -> Tensor:
        """Return the furthest allowed record on the way from x to the wish: of fifteen points between, then of fifteen around that one."""
        between = torch.arange(1, 16, device=wish.device)
        many = self.take(torch.arange(len(wish), device=wish.device).repeat_interleave(len(between)))
        found, share, way = self.x.clone(), wish.new_zeros(len(wish), 1), (wish - self.x)[:, None]
        for level in (1 / 16, 1 / 256):
            shares = share + level * between
            trial = self.threat.schema.possible((self.x[:, None] + shares[:, :, None] * way).flatten(0, 1), many.x).to(wish.dtype)
            reached = (many._allowed(trial).view(shares.shape) * between).amax(1)  # 0 where none is allowed
            trial = trial.view(*shares.shape, -1)[torch.arange(len(wish), device=wish.device), reached.clamp_min(1) - 1]
            found, share = torch.where(reached[:, None] > 0, trial, found), share + level * reached[:, None]
        return found

    def _allowed(self, x_adv: Tensor) -> Tensor:
        return self.threat._within(x_adv, self.x, self.lower, self.upper) & self.threat.schema.allows(x_adv, self.x)

    def settle_(self, x_adv: Tensor) -> Tensor:
        """Return the records as they are if allowed, else projected: a record has no rounding to mend."""
        return self.project_(x_adv)

    def sample(self, keys: list[int], stream: str | int = 0) -> Tensor:
        """Return one random allowed record each, every field uniform within its limits on its own scale, then projected."""
        share = uniform_for(keys, tuple(self.x.shape[1:]), "records", stream).to(self.x)
        return self.project_(self.lower + share * (self.upper - self.lower))


__all__ = ["Cost", "RecordRegion", "Records"]
