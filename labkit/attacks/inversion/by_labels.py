"""Inversion when the service names its answer and nothing else: walk away from where the answer changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from labkit.attacks.inversion.priors import Prior, first_points
from labkit.attacks.inversion.result import InversionResult, Stop
from labkit.endpoint import OutOfQueries
from labkit.progress import progress
from labkit.seeding import derive, normal_for

Decide = Callable[[Tensor], Tensor]


def invert_by_labels(
    service: Decide, targets: Tensor, prior: Prior, *, queries: int = 2000, samples: int = 32, radius: float = 1.0, growth: float = 1.3,
    step: float = 0.5, spread: float = 1.0, within: float = torch.inf,
    start: Tensor | None = None, seed: int = 0,
) -> InversionResult:  # fmt: skip
    """Look for a point deep inside each class, by labels alone: BREP-MI.

    ``service``: inputs (B, ...) -> labels (B,) int64, e.g. ``Endpoint(model, answers="labels")``. First points of the prior are drawn
    (``spread`` standard deviations) until one has the target's label. Then ``samples`` points on a sphere around it are asked about:
    those with another label push the point away from them, by ``step`` times the radius; when all have the target's label, the sphere
    grows by ``growth``. The point with the largest sphere wins. ``queries``: at most so many for each class, from the first on.
    ``start``: points of the prior (T, ...) to draw around. ``within``: the largest root mean square of a point's coordinates, in standard
    deviations; without it, a linear prior lets the walk leave the faces altogether.
    A class whose beginning was not found keeps the prior's first point and confidence 0; else ``confidence`` is 1 (the label) and
    ``meta["radius"]`` says how deep it lies. Kahla, Chen, Just, Jia 2022, arXiv 2203.01925.

    Notes: the paper picks its beginning among many and has no limit of queries. A step onto a point with another label is taken back, and
    the radius shrinks. Raises ValueError for options out of range and answers that are no labels.
    """
    if queries < 1 or samples < 2 or min(radius, step, spread, within) <= 0 or growth <= 1:
        raise ValueError(
            "queries must be 1 or more, samples 2 or more, radius, step, spread and within positive, growth above 1; got "
            f"{queries}, {samples}, {radius}, {step}, {spread}, {within}, {growth}"
        )
    code, count = first_points(prior, len(targets), start), len(targets)
    targets = targets.to(code.device)
    deepest, found = torch.zeros(count), torch.zeros(count, dtype=torch.bool)
    spent, steps = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)
    stopped: list[Stop] = ["queries"] * count
    for i in progress(range(count), "inverting by labels", total=count):
        purse = _Purse(service, prior, int(targets[i]), queries)
        try:
            at = _begin(purse, code[i], spread, samples, derive(seed, "labels", int(targets[i])))
            found[i], code[i] = True, at
            for point, depth in _walk(purse, at, radius, growth, step, samples, within, derive(seed, "walk", int(targets[i]))):
                steps[i] += 1
                if depth > deepest[i]:
                    deepest[i], code[i] = depth, point
        except OutOfQueries:
            pass
        spent[i] = purse.spent
    none, x = torch.zeros_like(spent), prior.decode(code).detach()
    return InversionResult(
        x, targets, found.to(code), steps, none, none, spent, tuple(stopped), ~found, code, 1.0, code.new_empty(0, count),
        meta={"attack": "invert_by_labels", "radius": deepest, "found": found},
    )  # fmt: skip


class _Purse:
    """A service with a limit for one class: whether points of the prior get the target's label."""

    def __init__(self, service: Decide, prior: Prior, target: int, queries: int) -> None:
        self.service, self.prior, self.target, self.left, self.spent = service, prior, target, queries, 0

    def hits(self, code: Tensor) -> Tensor:
        if len(code) > self.left:
            raise OutOfQueries(f"{len(code)} queries refused: {self.left} of this class's are left")
        label = self.service(self.prior.decode(code))
        if not isinstance(label, Tensor) or label.shape != (len(code),) or label.dtype != torch.int64:
            raise ValueError("the service must answer one int64 label per input: Endpoint(model, answers='labels')")
        self.left, self.spent = self.left - len(code), self.spent + len(code)
        return label == self.target


def _begin(purse: _Purse, first: Tensor, spread: float, samples: int, key: int) -> Tensor:
    turn = 0
    while True:
        drawn = first + spread * normal_for([key], (samples, *first.shape), "begin", turn, dtype=first.dtype)[0].to(first.device)
        hits = purse.hits(drawn)
        if bool(hits.any()):
            inside = drawn[hits]
            middle = inside.mean(0)  # classes are often round: the middle of several hits is deeper than any of them
            return middle if bool(purse.hits(middle[None])) else inside[0]
        turn += 1


def _walk(
    purse: _Purse, at: Tensor, radius: float, growth: float, step: float, samples: int, within: float, key: int
) -> Iterator[tuple[Tensor, float]]:
    """Yield, turn by turn, where the search stands and the radius of the sphere around it that was all inside (0 if it was not)."""
    turn = 0
    while True:
        u = normal_for([key], (samples, *at.shape), "walk", turn, dtype=at.dtype)[0].to(at.device)
        u = u / u.flatten(1).norm(dim=1).view(-1, *[1] * at.ndim)
        hits = purse.hits(at + radius * u)
        turn += 1
        if bool(hits.all()):
            yield at, radius
            radius *= growth
            continue
        moved = at - step * radius * u[~hits].mean(0)
        moved = moved * min(1.0, within / max(1e-12, float(moved.square().mean().sqrt())))
        if bool(purse.hits(moved[None])):
            at = moved
        else:
            radius /= growth
        yield at, 0.0


__all__ = ["invert_by_labels"]
