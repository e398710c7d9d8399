"""Biggio, Nelson and Laskov 2012: climb the validation loss of a support vector machine by moving one training point."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labkit.attacks.poisoning.result import PoisonedData
from labkit.attacks.poisoning.svm import kernel, poison_gradient, signs, solve
from labkit.data.dataset import Split
from labkit.progress import progress
from labkit.seeding import generator


def poison_svm(
    clean: Split, validation: Split, *, label: int, points: int = 1, start: Tensor | None = None, C: float = 1.0,
    gamma: float | None = None, steps: int = 100, step_size: float = 0.3, bounds: tuple[float, float] = (0.0, 1.0), seed: int = 0,
    tol: float = 1e-4,
) -> PoisonedData:  # fmt: skip
    """Add ``points`` rows labelled ``label`` to ``clean`` that raise the validation loss of the machine trained on all of it.

    ``clean``: the training set, two labels, role "train". ``validation``: what the attacker judges by (role "validation" or "shadow",
    never the test set). ``start``: the first point, shaped like one input; by default a random row of the other class, so that the
    attack begins as one flipped label. ``C``, ``gamma``: the victim's (gamma None: linear kernel). Each of the ``steps`` moves the
    point by ``step_size`` (L2) along the gradient and back into ``bounds``. Several points are made one after the other. arXiv
    1206.6389, algorithm 1; the gradient is ``poison_gradient``.
    The result's ``trace`` has "path" (points, steps + 1, ...) and "loss" (points, steps + 1), the validation loss on the way.

    Notes: the paper stops when the loss no longer rises; here all steps are taken and the best point on the way is kept, because steps of
    fixed length overshoot. A point whose gradient is zero (alpha = 0) stays where it is. The machine is trained anew in each step.
    Raises WrongRole, and ValueError for a label that ``clean`` does not have, a start of another shape or outside the bounds.
    """
    clean.require("train", purpose="poison_svm")
    validation.require("validation", "shadow", purpose="the attacker's own judgement in poison_svm")
    found = sorted(set(clean.y.tolist()))
    if len(found) != 2 or label not in found:
        raise ValueError(f"{clean.name!r} has labels {found}; poison_svm needs two, and label {label} among them")
    if points < 1 or steps < 0 or step_size <= 0:
        raise ValueError(f"points must be 1 or more, steps 0 or more, step_size positive; got {points}, {steps}, {step_size}")
    classes = (found[0], found[1])
    shape, (low, high) = clean.x.shape[1:], bounds
    if start is not None and (start.shape != shape or float(start.min()) < low or float(start.max()) > high):
        raise ValueError(f"start must have shape {tuple(shape)} and values in {bounds}, got {tuple(start.shape)} with values from "
                         f"{float(start.min()):g} to {float(start.max()):g}")  # fmt: skip
    x, y = clean.x.detach().cpu().flatten(1).double(), signs(clean.y.cpu(), classes)
    x_val, y_val = validation.x.detach().cpu().flatten(1).double(), signs(validation.y.cpu(), classes)
    victims = (clean.y.cpu() != label).nonzero().squeeze(1)
    picks = victims[torch.randint(len(victims), (points,), generator=generator(seed, "poison_svm"))]
    bases = x[picks] if start is None else start.detach().cpu().flatten().double().expand(points, -1)
    mark = signs(torch.tensor([label]), classes)
    paths, losses, kept = [], [], []
    for base in bases:
        y = torch.cat([y, mark])

        def judge(rows: Tensor, gram: Tensor, y: Tensor = y) -> tuple[float, Tensor]:
            return poison_gradient(solve(rows, y, gram, C, gamma, classes, tol), len(rows) - 1, x_val, y_val)

        path, trail = _climb(judge, x, base, gamma, steps, step_size, bounds)
        kept.append(path[int(trail.argmax())])
        x = torch.cat([x, kept[-1][None]])
        paths.append(path)
        losses.append(trail)
    new, old = (rows.reshape(points, *shape).to(clean.x) for rows in (torch.stack(kept), bases))
    truth = torch.full((points,), classes[0] if label == classes[1] else classes[1])
    trace = {"path": torch.stack(paths).reshape(points, steps + 1, *shape), "loss": torch.stack(losses)}
    spent = {"trainings": float(points * (steps + 1))}
    return PoisonedData.adding(clean, new, torch.full((points,), label), base_x=old, base_y=truth, spent=spent, trace=trace)


def _climb(
    judge: Callable[[Tensor, Tensor], tuple[float, Tensor]], x: Tensor, point: Tensor, gamma: float | None, steps: int, step_size: float,
    bounds: tuple[float, float],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the points visited (steps + 1, D) and their validation losses (steps + 1,)."""
    gram = kernel(torch.cat([x, point[None]]), torch.cat([x, point[None]]), gamma)
    path, trail = [point], []
    for step in progress(range(steps + 1), "poisoning the SVM"):
        loss, gradient = judge(torch.cat([x, point[None]]), gram)
        trail.append(loss)
        if step == steps:
            break
        length = float(gradient.norm())
        if length:
            point = (point + step_size / length * gradient).clamp(*bounds)
            gram[-1, :-1] = gram[:-1, -1] = kernel(x, point[None], gamma)[:, 0]
            gram[-1, -1] = kernel(point[None], point[None], gamma)[0, 0]
        path.append(point)
    return torch.stack(path), torch.tensor(trail, dtype=torch.float64)
