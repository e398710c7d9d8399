"""What an attack hands back: inputs, verified success, distance, cost, and rates with their denominators."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from labkit.attacks.outcome import Outcome
from labkit.rates import Rate
from labkit.threats import Threat


@dataclass(frozen=True)
class AttackResult(Outcome):
    """The outcome of an evasion attack on B inputs; every tensor has B rows and is on the caller's device.

    ``x_adv``: the adversarial inputs. ``success``: (B,) bool, the goal is met, by one fresh forward pass of the user's own
    model on ``x_adv``. ``already``: (B,) bool, the goal was met before anything was done; such inputs are untouched.
    ``distance``: (B,) float64 in the threat's unit; inf where an attack for the smallest change found none. ``prediction``: (B,)
    int64 on ``x_adv``. ``forwards``, ``backwards``: (B,) int64, model evaluations spent on each sample. ``flags``: (B,) bool each:
    ``zero_gradient``, ``non_finite``; ``out_of_queries`` if a service stopped answering while they were in play. ``trace``: per step
    (S, B), if asked for: ``loss``; nan where a sample had left.
    """

    x: Tensor
    y: Tensor
    x_adv: Tensor
    success: Tensor
    already: Tensor
    distance: Tensor
    prediction: Tensor
    forwards: Tensor
    backwards: Tensor
    threat: Threat
    flags: dict[str, Tensor] = field(default_factory=dict)
    trace: dict[str, Tensor] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def robust_accuracy(self) -> Rate:
        """Inputs still answered as they should be, over all inputs.

        Those wrong before the attack count as wrong, and so do those where the model or its gradient was not finite: nothing shows
        that they hold. Raises ValueError for a targeted attack.
        """
        if self.meta.get("targeted"):
            raise ValueError("a targeted attack does not measure robust accuracy: not reaching the target is not being right")
        held = ~self.success & ~self.flags.get("non_finite", torch.zeros_like(self.success))
        return Rate(int(held.sum()), len(self), "inputs")

    @property
    def success_rate(self) -> Rate:
        """Inputs that the attack turned, over the inputs that did not meet the goal before."""
        return Rate(int((self.success & ~self.already).sum()), int((~self.already).sum()), "inputs not met before")

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """Success over the inputs not met before and, unless targeted, robust accuracy over all; the median distance of those turned."""
        rates: dict[str, Rate | float] = {"success": self.success_rate}
        if not self.meta.get("targeted"):
            rates["robust accuracy"] = self.robust_accuracy
        return {**rates, "median distance": self.median_distance}

    @property
    def costs(self) -> dict[str, float]:
        """Evaluations of the model, all inputs together."""
        return {"forwards": int(self.forwards.sum()), "backwards": int(self.backwards.sum())}

    @property
    def queries(self) -> Tensor:
        """How many answers of the model each input's attack used, (B,) int64: the forward passes less the one that verified.

        Raises ValueError for an attack that used gradients: its cost is not a number of queries.
        """
        if self.meta.get("needs") == "gradients":
            raise ValueError(f"{self.meta.get('attack')} uses gradients; its cost is in forwards and backwards")
        return self.forwards - int(self.meta.get("verifying", 1))

    @property
    def median_distance(self) -> float:
        """The median distance of the inputs that the attack turned; nan if there are none."""
        turned = self.distance[self.success & ~self.already]
        return float(turned.quantile(0.5)) if len(turned) else float("nan")  # median() takes the lower of two middle values

    def best_of(self, other: AttackResult) -> AttackResult:
        """Return, per input, the better of two results: success first, then the smaller distance. Costs add up.

        Raises ValueError when the two did not attack the same inputs.
        """
        if self.x.shape != other.x.shape or not torch.equal(self.x, other.x):
            raise ValueError("best_of compares two attacks on the same inputs in the same order; these differ")
        better = (other.success & ~self.success) | ((other.success == self.success) & (other.distance < self.distance))

        def pick(mine: Tensor, others: Tensor) -> Tensor:
            return torch.where(better.view(-1, *[1] * (mine.ndim - 1)), others, mine)

        return replace(
            self, x_adv=pick(self.x_adv, other.x_adv), success=pick(self.success, other.success),
            distance=pick(self.distance, other.distance), prediction=pick(self.prediction, other.prediction),
            forwards=self.forwards + other.forwards, backwards=self.backwards + other.backwards, trace={},
            flags={name: flag | other.flags.get(name, flag) for name, flag in self.flags.items()},
            meta={"attack": f"best of {self.meta.get('attack')} and {other.meta.get('attack')}", "targeted": self.meta.get("targeted")},
        )  # fmt: skip

    @staticmethod
    def concatenate(parts: list[AttackResult]) -> AttackResult:
        """Join the results of consecutive batches. Raises ValueError for an empty list."""
        if not parts:
            raise ValueError("nothing to join")
        first = parts[0]
        joined: dict[str, Any] = {"threat": first.threat, "meta": first.meta}
        for part_field in fields(AttackResult):
            value = getattr(first, part_field.name)
            if isinstance(value, Tensor):
                joined[part_field.name] = torch.cat([getattr(part, part_field.name) for part in parts])
        names = dict.fromkeys(name for part in parts for name in part.flags)  # a service may have stopped in one chunk only
        joined["flags"] = {name: torch.cat([part.flags.get(name, torch.zeros_like(part.success)) for part in parts]) for name in names}
        joined["trace"] = {name: _side_by_side([(part.trace.get(name), len(part)) for part in parts])
                           for name in sorted({name for part in parts for name in part.trace})}  # fmt: skip
        return AttackResult(**joined)

    def __str__(self) -> str:
        name = self.meta.get("attack", "attack")
        line = f"{name} under {self.threat}: success {self.success_rate}"
        return line if self.meta.get("targeted") else f"{line}; robust accuracy {self.robust_accuracy}"


def _side_by_side(rows: list[tuple[Tensor | None, int]]) -> Tensor:
    """Join traces (S, B) of batches that took different numbers of steps: nan where a batch had already ended."""
    known = next(row for row, _ in rows if row is not None)
    steps = max(len(row) for row, _ in rows if row is not None)
    joined = known.new_full((steps, sum(count for _, count in rows)), torch.nan)
    column = 0
    for row, count in rows:
        if row is not None:
            joined[: len(row), column : column + count] = row
        column += count
    return joined
