"""Feature collision: a correctly labelled image that a fixed feature extractor takes for somebody else's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labkit.attacks.poisoning.result import PoisonedData
from labkit.data.dataset import Split
from labkit.progress import progress
from labkit.threats import Linf
from labkit.threats.balls import Ball

Features = Callable[[Tensor], Tensor]
_BOX = Linf()  # no budget: the box of pixel values alone


def feature_collision(
    clean: Split, bases: Split, target: Tensor, features: Features, *, beta: float = 0.1, steps: int = 200, step_size: float = 0.01,
    opacity: float = 0.0, threat: Ball = _BOX,
) -> PoisonedData:  # fmt: skip
    """Add one poison per base to ``clean``: it looks like the base, keeps the base's *true* label, and has the target's features.

    ``bases``: the images to start from, (P, ...), of the class that the target shall be taken for. ``target``: one input, which nobody
    changes. The other arguments are those of ``collide``. Shafahi et al. 2018, arXiv 1804.00792. ``trace``: as ``collide`` returns it.
    Raises WrongRole, ValueError for a target of another shape.
    """
    if target.shape != bases.x.shape[1:]:
        raise ValueError(f"the target is one input of shape {tuple(bases.x.shape[1:])}, got {tuple(target.shape)}")
    targets = target.to(bases.x).expand_as(bases.x)
    x, trace = collide(features, bases.x, targets, beta=beta, steps=steps, step_size=step_size, opacity=opacity, threat=threat)
    spent = {"forwards": float(steps + 2) * len(x), "backwards": float(steps + 1) * len(x)}
    return PoisonedData.adding(clean, x, bases.y, base_x=bases.x, threat=threat, spent=spent, trace=trace)


def collide(
    features: Features, base: Tensor, target: Tensor, *, beta: float = 0.1, steps: int = 200, step_size: float = 0.01,
    opacity: float = 0.0, threat: Ball = _BOX,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """Return images (B, ...) near their ``base`` whose features are near those of their ``target``, and how they got there.

    Minimizes |f(x) - f(target)|^2 + beta |x - base|^2 by forward-backward splitting (Shafahi et al. 2018, algorithm 1): a gradient step on
    the first term, then the minimizer of the second, x <- (x + 2 step beta base) / (1 + 2 step beta), here followed by the projection onto
    ``threat``. ``features``: (B, ...) -> (B, F), fixed. ``opacity``: blend this much of the target into the base first (the
    paper's watermark). Each image has its own step, halved whenever its objective would rise; such a step is not taken.
    The trace: "objective" and "features" (the distance |f(x) - f(target)|), both (steps + 1, B).

    Notes: the paper's second step lacks the two 2s, which minimizes the objective with half its beta.
    Raises ValueError for shapes that differ and for a beta, opacity or step that makes no sense.
    """
    if base.shape != target.shape:
        raise ValueError(f"one target per base: got shapes {tuple(base.shape)} and {tuple(target.shape)}")
    if beta < 0 or not 0 <= opacity < 1 or step_size <= 0 or steps < 0:
        raise ValueError(
            f"beta {beta}, opacity {opacity}, step_size {step_size}, steps {steps}: beta and steps are 0 or more, opacity is 0 to below 1, "
            "step_size is positive"
        )
    anchor = (1 - opacity) * base + opacity * target
    with torch.no_grad():
        wanted = features(target)

    def judge(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        leaf = x.detach().requires_grad_(True)
        gap = (features(leaf) - wanted).flatten(1).square().sum(1)
        (slope,) = torch.autograd.grad(gap.sum(), leaf)
        gap = gap.detach()
        return gap + beta * (x - anchor).flatten(1).square().sum(1), gap, slope

    sides = (-1,) + (1,) * (base.ndim - 1)
    x, size = threat.project(anchor, base), torch.full((len(base),), step_size, dtype=base.dtype, device=base.device)
    value, gap, slope = judge(x)
    values, gaps = [value], [gap.sqrt()]
    for _ in progress(range(steps), "colliding features"):
        each = size.view(sides)
        moved = threat.project((x - each * slope + 2 * each * beta * anchor) / (1 + 2 * each * beta), base)
        new_value, new_gap, new_slope = judge(moved)
        better = new_value < value
        size = torch.where(better, size * 1.1, size / 2)
        x, slope = torch.where(better.view(sides), moved, x), torch.where(better.view(sides), new_slope, slope)
        value, gap = torch.where(better, new_value, value), torch.where(better, new_gap, gap)
        values.append(value)
        gaps.append(gap.sqrt())
    return x, {"objective": torch.stack(values), "features": torch.stack(gaps)}
