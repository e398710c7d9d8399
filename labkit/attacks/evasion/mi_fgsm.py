"""Momentum in the steps, for examples that transfer to other models."""

from __future__ import annotations

import torch

from labkit.attacks.engine import Search, attack


@attack
def mi_fgsm(search: Search, *, steps: int = 10, step_size: float | None = None, decay: float = 1.0) -> None:
    """Momentum iterative FGSM: ``g <- decay * g + grad / mean|grad|``, a step along ``g``; from the clean input.

    ``decay=0`` is BIM. Dong et al. 2018, arXiv 1710.06081. Notes: the paper divides by the L1 norm of the gradient; the mean
    differs from it by a constant factor, which neither the sign nor the direction sees. The norm is taken per sample.
    """
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    if step_size is None:
        step_size = search.threat.default_step(steps, search.x.shape) if search.threat.norm == "l0" else search.threat.eps / steps
    x_adv = search.start(random=False)
    velocity = torch.zeros_like(x_adv)
    for _ in range(steps):
        x_adv, grad, velocity = search.gradient(x_adv, velocity)
        if not len(search):
            return
        grad = grad.nan_to_num(nan=0.0)
        size = grad.flatten(1).abs().mean(1).view(-1, *[1] * (grad.ndim - 1))
        velocity = decay * velocity + grad / torch.where(size > 0, size, 1)
        x_adv = search.region.step_(x_adv, velocity, step_size)
    search.finish(x_adv)
